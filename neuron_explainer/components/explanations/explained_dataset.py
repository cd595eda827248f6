"""`ExplainedDataset`: the folder of explanations of many components."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.explanations.many.journal import OutcomeJournal
from neuron_explainer.explanations.many.out_folder import EXPLANATIONS, OUTCOMES, TABLE
from neuron_explainer.explanations.many.outcome import table_of_outcomes
from neuron_explainer.wording import counted

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, repr=False)
class ExplainedDataset(os.PathLike[str]):
    """Explanations of many components; `ne.explain_dataset` gives it. `open` and `pathlib.Path` take it as its folder.

    Attributes:
        path: the folder.
        components: the names of the components that were asked for.
        n_new: how many of them this call worked on; the others were there.
        failed: the names of those with an error; the table says which.
    """

    path: Path
    components: tuple[str, ...]
    n_new: int
    failed: tuple[str, ...]

    @property
    def explanations(self) -> Path:
        """The folder of OpenAI's files, for `ne.load_explanations`, and `explanations=` of components and viewers."""
        return self.path / EXPLANATIONS

    @property
    def table(self) -> Path:
        """The table of all components in the folder, those of earlier calls among them, as a CSV file."""
        return self.path / TABLE

    def to_dataframe(self) -> pandas.DataFrame:
        """A row for each explanation, read from the folder: component, explanation, explainer, each scorer's score.

        A score has four columns or more: "pattern", "pattern low", "pattern high" (its interval), and the baselines,
        such as "pattern: most frequent token". A component that could not be explained, or a score that could not be
        made, has its error in the column error.

        Raises:
            UnreadableFileError: the folder's file cannot be read.
        """
        ids = [NodeName.of(name).to_neuron_id() for name in self.components]
        places = [(each.layer_index, each.neuron_index) for each in ids]
        return table_of_outcomes(OutcomeJournal(self.path / OUTCOMES).outcomes(places))

    def __len__(self) -> int:
        return len(self.components)

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __repr__(self) -> str:
        failed = f", {len(self.failed):,} failed" if self.failed else ""
        return f"<ExplainedDataset of {counted(len(self), 'component')}{failed}: {self.path}>"

    def _repr_html_(self) -> str:
        from neuron_explainer.views.explanations.explained import explained_html

        return explained_html(self.to_dataframe(), len(self), len(self.failed))
