"""The activations of a batch at some places, those of online autoencoders included."""

from collections.abc import Iterable

from jaxtyping import Bool, Int
from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.online_autoencoders import online_autoencoder, place_in_pass
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.vocabulary.places import ActivationLocationType


def recorded_at(
    bound: BoundConfig,
    places: Iterable[PlaceAndLayer],
    tokens: Int[Tensor, "batch tokens"],
    attention_mask: Bool[Tensor, "batch tokens"] | None = None,
) -> dict[PlaceAndLayer, Tensor]:
    """The activations at places of a model and its autoencoders, (batch, *axes), without gradients.

    Raises:
        MissingSettingError, MisconfiguredError: the configuration lacks a place's autoencoders.
    """
    asked = list(places)
    in_pass = {(place, layer): (place_in_pass(bound, place), layer) for place, layer in asked}
    kinds = {(place.autoencoder_node_type, layer) for place, layer in asked}
    hooks = [
        hook
        for kind, layer in kinds
        if kind is not None and layer is not None
        for hook in online_autoencoder(bound, kind, layer)
    ]
    recording = bound.model.recording(set(in_pass.values()))
    needs_logits = any(place is ActivationLocationType.LOGITS for place, _ in asked)
    bound.model(
        tokens,
        attention_mask=attention_mask,
        logits_at="all" if needs_logits else None,
        hooks=[*hooks, recording],
    )
    return {key: recording[in_pass[key]] for key in asked}
