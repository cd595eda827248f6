"""Answers to the same kind of question about several prompts, with means over them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.attribution.attribution import Attribution
from neuron_explainer.attribution.tables.columns import EFFECTS
from neuron_explainer.attribution.tables.components import (
    LATENT_TYPES,
    Sums,
    effect_named,
    table_of_components,
)
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.storage.locations import path_text
from neuron_explainer.vocabulary.checks import checked_number
from neuron_explainer.vocabulary.nodes import NodeType

if TYPE_CHECKING:
    import pandas


class Attributions(Sequence[Attribution]):
    """The answers about several prompts, in their order. Each is an Attribution; tables here are means over prompts.

    >>> import neuron_explainer as ne
    >>> prompts = ["And the LORD said unto", "And God said unto"]
    >>> several = ne.attribute(ne.load_model("tiny"), prompts, " Moses", " her")
    >>> len(several), list(several.heads(2).columns[3:])
    (2, ['direct_effect', 'direct_effect_std', 'total_effect', 'total_effect_std'])
    """

    def __init__(self, answers: Sequence[Attribution]) -> None:
        self._answers = list(answers)

    @overload
    def __getitem__(self, index: int) -> Attribution: ...

    @overload
    def __getitem__(self, index: slice) -> Attributions: ...

    def __getitem__(self, index: int | slice) -> Attribution | Attributions:
        return Attributions(self._answers[index]) if isinstance(index, slice) else self._answers[index]

    def __len__(self) -> int:
        return len(self._answers)

    def __iter__(self) -> Iterator[Attribution]:
        return iter(self._answers)

    @property
    def values(self) -> list[float]:
        """The metric of each prompt."""
        return [why.value for why in self._answers]

    @property
    def residues(self) -> list[float]:
        """What the parts leave over, of each prompt."""
        return [why.residue for why in self._answers]

    def table(self) -> pandas.DataFrame:
        """One row for each prompt: `prompt`, `question` (what the number is), `value`, `residue`."""
        import pandas

        return pandas.DataFrame(
            {
                "prompt": ["".join(why.stores[0].tokens) for why in self._answers],
                "question": [why.inquiry.title for why in self._answers],
                "value": self.values,
                "residue": self.residues,
            }
        )

    def parts(self) -> pandas.DataFrame:
        """The mean over prompts of each part's direct effect, and its standard deviation (NaN of a single prompt).

        Columns: `part`, `layer`, `direct_effect`, `direct_effect_std`. A part that a prompt does not have counts as 0.
        """
        import pandas

        self._check_any()
        effect, keys = "direct_effect", ["part", "layer"]
        of_prompts = []
        for number, why in enumerate(self._answers):
            summed = pandas.DataFrame(why.parts()).groupby(keys, dropna=False, sort=False)[[effect]].sum()
            of_prompts.append(summed.assign(prompt=number).set_index("prompt", append=True))
        joined: Any = pandas.concat(of_prompts).unstack("prompt", fill_value=0.0, sort=False)
        columns = {effect: joined[effect].mean(axis=1), f"{effect}_std": joined[effect].std(axis=1)}
        return pandas.DataFrame(columns).reset_index()

    def heads(self, n: SupportsIndex | None = None, by: str = "direct_effect") -> pandas.DataFrame:
        """The n heads (None: all) with the largest mean effect, as Attribution.heads, each effect with its `_std`."""
        return self._components((NodeType.ATTENTION_HEAD,), n, by)

    def neurons(self, n: SupportsIndex | None = 20, by: str = "direct_effect") -> pandas.DataFrame:
        """The n neurons with the largest mean effect; as `heads`."""
        return self._components((NodeType.MLP_NEURON,), n, by)

    def latents(self, n: SupportsIndex | None = 20, by: str = "direct_effect") -> pandas.DataFrame:
        """The n latents with the largest mean effect; as `heads`."""
        return self._components(LATENT_TYPES, n, by)

    def _components(self, kinds: Collection[NodeType], n: SupportsIndex | None, by: str) -> pandas.DataFrame:
        self._check_any()
        number, effect = None if n is None else checked_number("n", n), effect_named(by)
        by_prompt = [why.component_sums(kinds) for why in self._answers]
        mean: Sums = {}
        for key in by_prompt[0]:
            for column in EFFECTS:
                numbers = torch.stack([sums[key][column] for sums in by_prompt])
                of_key = mean.setdefault(key, {})
                of_key[column], of_key[f"{column}_std"] = numbers.mean(0), _spread(numbers)
        columns = [f"{column}{suffix}" for column in EFFECTS for suffix in ("", "_std")]
        return table_of_components(mean, effect, number, columns)

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Write the page that a notebook shows to an HTML file of its own, which needs nothing else."""
        from neuron_explainer.views.attribution.several import attributions_document

        write_bytes_atomically(path_text(path), attributions_document(self).encode())

    def _check_any(self) -> None:
        if not self._answers:
            raise InvalidRequestError("Answers about no prompts have no mean. Ask about at least one.")

    def __repr__(self) -> str:
        mean = sum(self.values) / len(self) if self._answers else float("nan")
        return f"<Attributions: {len(self)} prompts, mean value {mean:.4g}>"

    def _repr_html_(self) -> str:
        from neuron_explainer.views.attribution.several import attributions_html

        return attributions_html(self)


def _spread(numbers: Float[Tensor, "prompts components"]) -> Float[Tensor, " components"]:
    """The standard deviation over prompts, with n - 1; NaN of a single prompt."""
    return numbers.std(0) if len(numbers) > 1 else torch.full_like(numbers[0], float("nan"))
