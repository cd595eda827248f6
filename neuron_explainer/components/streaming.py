"""Activations of all components of some layers on texts, one batch after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Bool, Float
from torch import Tensor

from neuron_explainer.collation.corpus.corpus_reader import CorpusReader
from neuron_explainer.collation.corpus.texts import TextsGiven
from neuron_explainer.collation.corpus.windows import Batch, CorpusChunk, CorpusPosition
from neuron_explainer.collation.runs.job import CollatedModel, Job
from neuron_explainer.collation.runs.preparation import job_of
from neuron_explainer.collation.runs.progress import Progress
from neuron_explainer.collation.runs.scalar_source import entry_kind_of
from neuron_explainer.collation.settings import CollateSettings
from neuron_explainer.collation.statistics.entry_kind import EntryKind
from neuron_explainer.errors import NonFiniteActivationError
from neuron_explainer.models.watching import stop_if_asked
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

if TYPE_CHECKING:
    from neuron_explainer.activations.derived_scalars.config import DstConfig

_LONGEST_CONTEXT = {EntryKind.TOKENS: 1024, EntryKind.TOKEN_PAIRS: 128}


def streaming_job(
    config: DstConfig,
    dst: DerivedScalarType,
    texts: TextsGiven,
    layers: list[int] | None,
    prepend_bos: bool | None,
    progress: bool | None,
) -> Job:
    """A run over texts that keeps little: one top example of each component.

    Args:
        config: the model, and what the scalar needs.
        dst: the scalar.
        texts: as `ne.collate` takes them.
        layers: the layers; None: all, or those that have autoencoders.
        prepend_bos: whether sequences begin with the beginning-of-sequence token; None: as the tokenizer does.
        progress: whether there is a bar; None: on a terminal or in a notebook.
    """
    context = config.get_model_context()
    length = min(context.max_context_length, _LONGEST_CONTEXT[entry_kind_of(dst)])
    settings = CollateSettings(
        dst=dst,
        layers=layers,
        context_length=length,
        prepend_bos=prepend_bos,
        top_k=1,
        random_k=0,
        quantiles=0,
        example_tokens=length,
    )
    return job_of(CollatedModel(context, config), texts, settings, progress=Progress(show=progress))


@dataclass(frozen=True)
class ActivationBatch:
    """The activations of some sequences.

    Attributes:
        by_layer: the activations, (sequences, entries, components), of each layer. An entry is a token or a pair.
        counted: which entries count: neither padding nor the beginning token, nor pairs that attend to it.
    """

    by_layer: dict[int, Float[Tensor, "sequences entries components"]]
    counted: Bool[Tensor, "sequences entries"]


def activation_batches(job: Job, stored: list[list[int]] | None = None) -> Iterator[ActivationBatch]:
    """The activations of a job's texts, batch after batch. A layer's may be taken out of `by_layer`, to free them.

    Args:
        job: the run.
        stored: token sequences that are run as they are, instead of the job's texts. Where the job's settings have a
            beginning token, each begins with it.

    Raises:
        StoppedError: the work is to stop.
    """
    reader = CorpusReader(job.texts())
    start = CorpusPosition()
    chunks = job.chunks(reader, start) if stored is None else iter([CorpusChunk(start, start, stored)])
    for chunk in chunks:
        for batch in chunk.batches(job.settings.batch_tokens):
            stop_if_asked()
            yield _activations_of(job, batch)
            job.progress.advance(int(batch.lengths.sum()), reader.n_characters)
    job.progress.finish()


def _activations_of(job: Job, batch: Batch) -> ActivationBatch:
    width = batch.tokens.shape[1]
    real = EntryKind.TOKENS.counted(batch.lengths, width, skip_first_token=False)
    counted = job.entry_kind.counted(batch.lengths, width, skip_first_token=bool(job.settings.prepend_bos))
    return ActivationBatch(job.source(batch.tokens, real), counted)


def counted_values(
    values: Float[Tensor, "sequences entries components"], counted: Bool[Tensor, "sequences entries"], layer: int
) -> Float[Tensor, "counted components"]:
    """The activations that count, in float64.

    Raises:
        NonFiniteActivationError: one of them is infinite or not a number.
    """
    flat = values[counted.to(values.device)].double()
    wrong = ~flat.isfinite()
    if bool(wrong.any()):
        entry, component = wrong.nonzero()[0].tolist()
        sequence, entry_in_sequence = counted.nonzero()[entry].tolist()
        raise NonFiniteActivationError(layer, component, sequence, entry_in_sequence, float(flat[entry, component]))
    return flat
