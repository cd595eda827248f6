"""One component's record, computed at once, without a dataset."""

import dataclasses
import functools
from typing import SupportsIndex

from neuron_explainer.activations.derived_scalars.config import ConfigOrModel
from neuron_explainer.activations.derived_scalars.loss import LossFnConfig, LossFunction
from neuron_explainer.activations.derived_scalars.names.records import LayerOrNode, is_node, record_asked
from neuron_explainer.activations.packed.layer_file import PackedLayerReader
from neuron_explainer.activations.records import NeuronId, NeuronRecord
from neuron_explainer.collation.corpus.beginning import with_beginning_rule
from neuron_explainer.collation.corpus.places import places_of_sequences
from neuron_explainer.collation.corpus.texts import TextsGiven, is_in_memory
from neuron_explainer.collation.output.dataset_writing import dataset_info
from neuron_explainer.collation.output.packing import packed_layer
from neuron_explainer.collation.runs.local_run import run_locally
from neuron_explainer.collation.runs.preparation import ModelGiven, collated_model_of, job_of
from neuron_explainer.collation.runs.progress import Progress
from neuron_explainer.collation.runs.scalar_source import entry_kind_of
from neuron_explainer.collation.settings import CollateSettings
from neuron_explainer.collation.statistics.entry_kind import EntryKind
from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.models.abstract_model_context import ModelContext
from neuron_explainer.models.beginning import beginning_token
from neuron_explainer.vocabulary.checks import checked_layer, checked_number, whole_number
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of

_LONGEST_CONTEXT = {EntryKind.TOKENS: 1024, EntryKind.TOKEN_PAIRS: 128}


def usual_context_length(model_context: ModelContext, dst: DerivedScalarType) -> int:
    """How many tokens a sequence has at most where nothing else is asked for."""
    return min(model_context.max_context_length, _LONGEST_CONTEXT[entry_kind_of(dst)])


def live_record(
    model: ModelGiven,
    layer: LayerOrNode,
    neuron: SupportsIndex | None,
    texts: TextsGiven,
    dst: DerivedScalarType | str = DerivedScalarType.MLP_POST_ACT,
    *,
    context_length: SupportsIndex | None = None,
    prepend_bos: bool | None = None,
    top_k: SupportsIndex | None = None,
    random_k: SupportsIndex = CollateSettings.random_k,
    seed: SupportsIndex = CollateSettings.seed,
    config: ConfigOrModel | None = None,
    loss: LossFnConfig | LossFunction | None = None,
    progress: bool | None = False,
) -> NeuronRecord:
    """Compute one component's record on texts: the record that a dataset made by `collate` would have.

    Within `with model.intervene(…)` the record is that of the changed model.

    Args:
        model: a ModelContext, or anything that `load_model` takes.
        layer: the layer, from 0; 0 for a scalar without layers. Or the component as a whole: its name, such as
            "L1N355", or an index, such as a NodeIndex. Then `neuron` is None.
        neuron: the neuron, head or latent in the layer, from 0.
        texts: as for `collate`; often a few strings, or a list of messages.
        dst: the derived scalar: a member, name or value.
        context_length: tokens in a sequence, at most; None: the model's context length, but at most 1,024, or 128 for
            scalars with one number for each token pair. Examples show whole sequences.
        prepend_bos: whether each sequence begins with the beginning-of-sequence token; None: as the model's tokenizer
            does, so that the numbers are those of `derive`. A chat begins as its template writes it.
        top_k: how many sequences, those with the highest peaks first. None: texts in memory are there as a whole, each
            sequence once, in the order of the texts (a text longer than the context is several sequences); of files and
            datasets, 20.
        random_k, seed: as for `collate`.
        config, loss: as for `collate`.
        progress: as for `collate`, except that the default shows nothing.

    Raises:
        InvalidRequestError: the model does not have this layer or component, `dst` is not of such components, or the
            texts contain no tokens.
        NodeNameError: `layer` is a text that is not a node's name.
        NonFiniteActivationError: an activation is infinite or NaN, so that the component has no statistics. The error
            names the place and the layer where such numbers appear first; `derive` gives the numbers, with a warning.

    >>> record = live_record("tiny", 1, 355, ["In the beginning God created the heaven and the earth."])
    >>> record.neuron_id, len(record.most_positive_activation_records)
    (NeuronId(layer_index=1, neuron_index=355), 1)
    """
    dst = derived_scalar_type_of(dst)
    if neuron is None and is_node(layer):
        layer, neuron, dst = record_asked(layer, dst)
    collated_model = collated_model_of(model, config, loss)
    model_context = collated_model.model_context
    if context_length is None:
        context_length = usual_context_length(model_context, dst)
    if whole_number(layer) is None:
        raise InvalidRequestError(
            f"layer is {shown(layer)}. Give a whole number. The order is live_record(model, layer, neuron, texts); "
            "a name such as L1N355 takes the place of the layer, and None that of the neuron."
        )
    if dst.has_no_layers and layer != 0:
        raise InvalidRequestError(f"{dst.value} has no layers. Give layer 0.")
    layer = checked_layer(layer, model_context.n_layers, dst.value)
    index = checked_number("neuron", neuron, 0)
    in_order = top_k is None and is_in_memory(texts)
    settings = CollateSettings(
        dst=dst,
        layers=layer,
        context_length=context_length,
        prepend_bos=prepend_bos,
        top_k=CollateSettings.top_k if top_k is None else top_k,
        random_k=random_k,
        quantiles=0,
        example_tokens=context_length,
        seed=seed,
    )
    encode = functools.cache(functools.partial(model_context.encode, add_special_tokens=False))
    if in_order:
        settings = with_beginning_rule(settings, model_context)
        prefix = [beginning_token(model_context)] if settings.prepend_bos else []
        places = places_of_sequences(texts, encode, settings, prefix, model_context.chat_text)
        settings = dataclasses.replace(settings, top_k=max(1, len(places)))
    job = job_of(
        collated_model,
        texts,
        settings,
        progress=Progress(show=progress),
        components={layer: [index]},
    )
    if in_order:
        job.encode = encode  # which knows the tokens already
    collation, corpus = run_locally(job)
    packed = packed_layer(collation, layer, activation_dtype="float32")
    info = dataset_info(job, collation, corpus, model_context, short_name="", corpus_name="")
    reader = PackedLayerReader(packed.tensors(), layer, info, model_context.tokenizer.token_strings)
    record = dataclasses.replace(reader.record(0), neuron_id=NeuronId(layer, index))
    if in_order:  # the packed sequences have the order of the texts
        by_text = sorted(
            zip(reader.windows(0)["top"], record.most_positive_activation_records, strict=True),
            key=lambda pair: pair[0].sequence,
        )
        record = dataclasses.replace(record, most_positive_activation_records=[example for _, example in by_text])
    return record
