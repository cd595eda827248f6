"""A job: one scalar of one model over some texts, ready to run locally or on Ray."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.derived_scalars.loss import LossFnConfig, LossFunction
from neuron_explainer.collation.corpus.corpus_reader import CorpusReader
from neuron_explainer.collation.corpus.text_files import Text
from neuron_explainer.collation.corpus.windows import CorpusChunk, CorpusPosition, corpus_chunks
from neuron_explainer.collation.runs.progress import Progress
from neuron_explainer.collation.runs.scalar_source import ScalarSource
from neuron_explainer.collation.settings import DEFAULT_SAVE_EVERY_SECONDS, CollateSettings
from neuron_explainer.collation.statistics.collation import Collation
from neuron_explainer.collation.statistics.entry_kind import EntryKind
from neuron_explainer.models.model_context import ModelContext


@dataclass(frozen=True)
class CollatedModel:
    """The model of a job, with what its derived scalar needs.

    Attributes:
        model_context: the model.
        config: autoencoders and whatever else the derived scalar needs; None: nothing.
        loss: the loss whose gradients are taken, for scalars that need one.
    """

    model_context: ModelContext
    config: DstConfig | None = None
    loss: LossFnConfig | LossFunction | None = None


@dataclass
class Job:
    """All that a run needs.

    Attributes:
        settings: what is collated.
        entry_kind: whether there is one activation for each token or for each token pair.
        texts: starts the stream of texts again from the first one.
        encode: text to token ids.
        bos_token: the token put before every sequence; None: no token.
        source: runs the model over batches.
        device: the activations' device.
        folder: where the run's state is saved; None: nowhere.
        identity: model, settings and versions, as JSON; a saved state must have the same.
        save_every_seconds: how often the state is saved.
        progress: where the run reports its progress.
        components: for each layer the components to cover; None: all.
        save_work: saves the work of the complete run, unless it was saved; None: nobody can.
    """

    settings: CollateSettings
    entry_kind: EntryKind
    texts: Callable[[], Iterator[Text]]
    encode: Callable[[str], Sequence[int]]
    bos_token: int | None
    source: ScalarSource
    device: torch.device
    folder: Path | None = None
    identity: dict[str, Any] = field(default_factory=dict)
    save_every_seconds: float = DEFAULT_SAVE_EVERY_SECONDS
    progress: Progress = field(default_factory=lambda: Progress(show=False))
    components: dict[int, list[int]] | None = None
    save_work: Callable[[], None] | None = None

    def empty_collation(self) -> Collation:
        """A collation of no sequences yet."""
        return Collation(self.settings, self.entry_kind, self.components)

    def chunks(self, reader: CorpusReader, start: CorpusPosition) -> Iterator[CorpusChunk]:
        """The corpus from a position on, in chunks."""
        return corpus_chunks(reader, self.encode, self.settings, self.bos_token, start)


@dataclass(frozen=True)
class CorpusSummary:
    """How many texts, tokens and sequences a run read, and the SHA-256 of the texts."""

    n_texts: int
    n_tokens: int
    n_sequences: int
    sha256: str
