"""Mean activations over reference texts, which ablations put in an activation's place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, SupportsIndex
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.ablating.bound_ablation import BoundAblation
from neuron_explainer.activations.derived_scalars.ablating.recorded import recorded_at
from neuron_explainer.activations.derived_scalars.ablating.reference_texts import Reference, reference_prompts
from neuron_explainer.activations.derived_scalars.ablations import check_has_mean
from neuron_explainer.activations.derived_scalars.config import ConfigOrModel, as_config
from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.config_checks import check_bound
from neuron_explainer.activations.derived_scalars.indices import ActivationIndex
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.layers.token_checks import int64_on_cpu, padded
from neuron_explainer.models.watching import part_of_work
from neuron_explainer.vocabulary.hook_names import place_and_layer

if TYPE_CHECKING:
    from neuron_explainer.activations.derived_scalars.engine.prompts import Prompt
    from neuron_explainer.models.hooks.recording import PlaceAndLayer
    from neuron_explainer.vocabulary.places import ActivationLocationType

_PROMPTS_IN_A_PASS = 4
_MEANS: WeakKeyDictionary[Any, WeakKeyDictionary[Any, dict[Any, Tensor]]] = WeakKeyDictionary()
"""Means over the embedded sample: by model; by the autoencoder of the place, or else the model; by place and layer."""


@torch.inference_mode(mode=False)
def mean_activation(
    model: ConfigOrModel,
    place: ActivationLocationType | str,
    layer: SupportsIndex | None,
    reference: Reference | None = None,
) -> Float[Tensor, ...]:
    """The mean activation of each component at a place, over the tokens of texts.

    A text's beginning-of-sequence token, where the model's tokenizer puts one before texts, is left out of the mean:
    models behave in a special way there.

    Args:
        model: the model; or, for places of autoencoders, a DstConfig with both.
        place, layer: as in an ActivationIndex.
        reference: a text, a chat or token ids, or several, cut to the model's context. None: the beginnings (128
            tokens) of 16 texts that come with this library; these means are kept as long as the model.

    Returns:
        A tensor with the place's axes but for the tokens, such as (neurons); at least in float32.

    Raises:
        InvalidIndexError: the place does not exist, or has no mean, as numbers of pairs of tokens have none.
        IndexOutOfRangeError: the model does not have the layer.
        InvalidRequestError: `reference` is empty or malformed, or has no tokens beside those that begin a text.

    >>> import neuron_explainer as ne
    >>> mean_activation(ne.load_model("tiny"), "mlp_post_act", 1, "Once upon a time").shape
    torch.Size([512])
    """
    located, its_layer = place_and_layer(place, layer)
    index = ActivationIndex(located, its_layer, [None] * len(located.shape))
    check_has_mean(index)
    key = located, index.layer_index
    return mean_activations(bound_at(model, index), [key], reference)[key]


def bound_at(model: ConfigOrModel, index: ActivationIndex) -> BoundConfig:
    """A model, with its autoencoders, that has the place which an index names.

    Raises:
        IndexOutOfRangeError: the model does not have the layer or the component.
        MissingSettingError, MisconfiguredError, AutoencoderMismatchError: the config has no autoencoders of that place.
    """
    config = replace(as_config(model), trace_config=None, node_index_for_attribution=None)
    bound = BoundConfig(config, config.get_or_create_model(), (), None, (BoundAblation(index, 0.0),))
    check_bound(bound)
    return bound


def mean_activations(
    bound: BoundConfig, places: Iterable[PlaceAndLayer], reference: Reference | None = None
) -> dict[PlaceAndLayer, Tensor]:
    """As `mean_activation`, for several places in the same passes."""
    asked = dict.fromkeys(places)
    known = {} if reference is not None else {key: _kept_for(bound, key) for key in asked}
    means = {key: kept[key] for key, kept in known.items() if key in kept}
    missing = [key for key in asked if key not in means]
    if missing:
        computed = _computed(bound, missing, reference_prompts(bound.config.get_model_context(), reference))
        means |= computed
        if not bound.model.active_interventions:  # these would be part of what is kept
            for key, kept in known.items():
                kept[key] = means[key]
    return means


def component_means(index: ActivationIndex, mean: Tensor) -> Tensor:
    """The means that belong to the components which an index names; they broadcast over its tokens."""
    return mean[index.slices[1:]]


def _kept_for(bound: BoundConfig, key: PlaceAndLayer) -> dict[Any, Tensor]:
    """The means that have been computed for a model, and the autoencoder of a place."""
    place, layer = key
    kind = place.autoencoder_node_type
    model_context = bound.config.get_model_context()
    owner = model_context if kind is None else bound.autoencoder(kind, layer)
    return _MEANS.setdefault(model_context, WeakKeyDictionary()).setdefault(owner, {})


def _computed(bound: BoundConfig, places: Sequence[PlaceAndLayer], prompts: Sequence[Prompt]) -> dict[Any, Tensor]:
    counted = [prompt for prompt in prompts if len(prompt.token_ids) > prompt.n_beginning]
    if not counted:
        raise InvalidRequestError(
            "The reference texts have no tokens beside those that begin a text, which are left out of means."
        )
    n_tokens = sum(len(prompt.token_ids) - prompt.n_beginning for prompt in counted)
    sums: dict[Any, Tensor] = {}
    batches = list(_batches(bound, counted))
    for number, batch in enumerate(batches):
        tokens, attention_mask = padded([prompt.token_ids for prompt in batch])
        positions = int64_on_cpu(range(tokens.shape[1]))
        first, end = (
            int64_on_cpu(numbers)[:, None]
            for numbers in ([prompt.n_beginning for prompt in batch], [len(prompt.token_ids) for prompt in batch])
        )
        is_counted = ((positions >= first) & (positions < end)).to(bound.model.device)
        with part_of_work(number, len(batches)):
            recorded = recorded_at(bound, places, tokens, attention_mask)
        for key, tensor in recorded.items():
            precision = torch.promote_types(tensor.dtype, torch.float32)
            of_batch = tensor[is_counted].sum(dim=0, dtype=precision)
            sums[key] = sums[key] + of_batch if key in sums else of_batch
    return {key: total / n_tokens for key, total in sums.items()}


def _batches(bound: BoundConfig, prompts: Iterable[Prompt]) -> Iterator[list[Prompt]]:
    """Prompts of about the same length, and apart where longrope stretches positions in another way."""
    by_kind: dict[tuple[int, ...], list[Prompt]] = {}
    for prompt in sorted(prompts, key=lambda prompt: len(prompt.token_ids)):
        by_kind.setdefault(bound.model.config.layers_rotated_as_long(len(prompt.token_ids)), []).append(prompt)
    for alike in by_kind.values():
        for start in range(0, len(alike), _PROMPTS_IN_A_PASS):
            yield alike[start : start + _PROMPTS_IN_A_PASS]
