"""One component's record on the spot, without a dataset."""

from typing import Any

from neuron_explainer.activations.attention_utils import n_pairs
from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.packed.layout import PackedExamples
from neuron_explainer.activations.records import ActivationRecord, Histogram, NeuronId, NeuronRecord
from neuron_explainer.collation.output.packing import packed_layer
from neuron_explainer.collation.runs.job import Subject, job_of, model_of
from neuron_explainer.collation.runs.local import run_locally
from neuron_explainer.collation.runs.progress import Progress
from neuron_explainer.collation.runs.scalar_source import entries_of
from neuron_explainer.collation.settings import CollateSettings
from neuron_explainer.collation.statistics.entries import Entries
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of

_LONGEST = 1024
_LONGEST_BY_PAIR = 128


def live_record(
    model: Any,
    layer: int,
    neuron: int,
    texts: Any,
    dst: DerivedScalarType | str = DerivedScalarType.MLP_POST_ACT,
    *,
    context_length: int | None = None,
    prepend_bos: bool = False,
    top_k: int = 20,
    random_k: int = 10,
    seed: int = 0,
    config: DstConfig | None = None,
    loss: Any = None,
    progress: bool | None = False,
) -> NeuronRecord:
    """What one neuron, head or latent does on texts: the record that `collate` would make of it.

    Args:
        model: a ModelContext, or whatever `load_model` takes.
        layer, neuron: which component.
        texts: as for `collate`; often a few strings.
        dst: which scalar.
        context_length: how many tokens a sequence has at most; None: as many as the model sees, but at most 1,024 (128
            for scalars by token pair). Examples show whole sequences.
        prepend_bos: begin every sequence with the model's beginning token; it is shown, but counts nowhere.
        top_k, random_k: how many top and random examples there are at most.
        seed: of the random sample.
        config, loss: as for `collate`.
        progress: as for `collate`, but nothing is shown unless asked for.

    Raises:
        InvalidRequestError: there is no such layer or component, or there is no text.
    """
    dst = derived_scalar_type_of(dst)
    model_context = model_of(model)
    by_pair = entries_of(dst) is Entries.TOKEN_PAIRS
    longest = _LONGEST_BY_PAIR if by_pair else _LONGEST
    length = context_length or min(model_context.max_context_length, longest)
    settings = CollateSettings(
        dst=dst,
        layers=(layer,),
        context_length=length,
        prepend_bos=prepend_bos,
        top_k=top_k,
        random_k=random_k,
        quantiles=0,
        example_tokens=length,
        seed=seed,
    )
    if neuron < 0:
        raise InvalidRequestError(f"There is no component {neuron}: they count from 0.")
    job = job_of(
        Subject(model_context, config, loss),
        texts,
        settings,
        progress=Progress(show=progress),
        components={layer: [neuron]},
    )
    collation, _ = run_locally(job)
    packed = packed_layer(collation, layer, activation_dtype="float32")
    spelled = model_context.tokenizer.token_strings

    def examples(group: PackedExamples) -> list[ActivationRecord]:
        shown = []
        for row, start, n_tokens, activations in zip(
            group.sequence[0].tolist(),
            group.start[0].tolist(),
            group.length[0].tolist(),
            group.activations[0],
            strict=True,
        ):
            if row >= 0:
                n_activations = n_pairs(n_tokens) if by_pair else n_tokens
                tokens = packed.sequences[row, start : start + n_tokens].tolist()
                shown.append(
                    ActivationRecord([spelled[token] for token in tokens], activations[:n_activations].tolist())
                )
        return shown

    mean, variance, skewness, kurtosis = (None if value != value else value for value in packed.moments[0].tolist())
    assert packed.histogram_edges is not None
    assert packed.histogram_counts is not None
    assert packed.activation_frequency is not None
    return NeuronRecord(
        neuron_id=NeuronId(layer, neuron),
        random_sample=examples(packed.random),
        random_sample_by_quantile=None,
        quantile_boundaries=None,
        mean=mean,
        variance=variance,
        skewness=skewness,
        kurtosis=kurtosis,
        most_positive_activation_records=examples(packed.top),
        activation_frequency=float(packed.activation_frequency[0]),
        histogram=Histogram(packed.histogram_edges[0].tolist(), packed.histogram_counts[0].tolist()),
    )
