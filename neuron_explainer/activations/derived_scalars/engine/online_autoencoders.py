"""Autoencoders that run within the forward pass, because something in them is overwritten."""

from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.autoencoder_context import AutoencoderContext
from neuron_explainer.models.autoencoders.encoded_inputs import encoded_input
from neuron_explainer.models.hooks.intervention import Intervention
from neuron_explainer.models.hooks.neutral import with_plain_value
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import NodeType
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType

_LATENT_PLACE = {
    NodeType.MLP_AUTOENCODER_LATENT: _PLACE.ONLINE_MLP_AUTOENCODER_LATENT,
    NodeType.ATTENTION_AUTOENCODER_LATENT: _PLACE.ONLINE_ATTENTION_AUTOENCODER_LATENT,
}
_ERROR_PLACE = {
    DerivedScalarType.MLP_POST_ACT: _PLACE.ONLINE_MLP_AUTOENCODER_ERROR,
    DerivedScalarType.RESID_DELTA_MLP: _PLACE.ONLINE_RESIDUAL_MLP_AUTOENCODER_ERROR,
    DerivedScalarType.RESID_DELTA_ATTN: _PLACE.ONLINE_RESIDUAL_ATTENTION_AUTOENCODER_ERROR,
}


def latent_place(context: AutoencoderContext) -> ActivationLocationType:
    """The place of an online autoencoder's latents, by the kind of autoencoder."""
    return _LATENT_PLACE.get(context.autoencoder_node_type, _PLACE.ONLINE_AUTOENCODER_LATENT)


def error_place(context: AutoencoderContext) -> ActivationLocationType:
    """The place of an online autoencoder's error, by the autoencoder's input.

    Raises:
        InvalidRequestError: errors are not defined for autoencoders of this input.
    """
    if context.dst not in _ERROR_PLACE:
        raise InvalidRequestError(
            f"Errors are defined only for autoencoders of {', '.join(_ERROR_PLACE)}, not of {context.dst.value}."
        )
    return _ERROR_PLACE[context.dst]


def place_in_pass(bound: BoundConfig, place: ActivationLocationType) -> ActivationLocationType:
    """The place under which a pass knows `place`: of latents or errors, that of the autoencoders' kind."""
    if place.autoencoder_node_type is None:
        return place
    context = bound.autoencoder_context(place.autoencoder_node_type)
    return error_place(context) if place.is_autoencoder_error else latent_place(context)


def online_autoencoder(bound: BoundConfig, node_type: NodeType, layer: int) -> list[Intervention]:
    """Interventions that run a layer's autoencoder within the pass: what it reconstructs becomes recon + error.

    The error is what the reconstruction from a second copy of the latents leaves, with its gradients. So activations
    and total gradients stay the same, unless the first copy (the place of the latents) or the error is overwritten.
    Where neither is, the pass goes on with the tensor itself: recon + error differs from it by rounding.
    """
    model, context = bound.model, bound.autoencoder_context(node_type)
    autoencoder = context.get_autoencoder(layer)
    place, place_layer = bound.autoencoder_place(node_type, layer)
    read_place, read_layer = bound.encoded_place(node_type, layer)
    read: list[Tensor] = []

    def remember(tensor: Tensor) -> Tensor:
        read[:] = [tensor]
        return tensor

    def replace(tensor: Tensor) -> Tensor:
        explained = tensor.flatten(2)
        inputs = encoded_input(autoencoder, bound.block(layer), read.pop() if reads_elsewhere else tensor)
        encoded = autoencoder.encode(inputs)
        recon = autoencoder.decode(encoded, inputs).to(explained.dtype)
        error = autoencoder.error(explained, encoded, inputs)
        latents = model.at_place(latent_place(context), layer, encoded.view_as(encoded))
        new_recon = autoencoder.decode(latents, inputs).to(explained.dtype)
        same = new_recon.detach() == recon.detach()
        if context.dst in _ERROR_PLACE:
            new_error = model.at_place(error_place(context), layer, error.clone())
            same &= new_error.detach() == error.detach()
            error = new_error
        return with_plain_value(new_recon + error, explained, same).view_as(tensor)

    reads_elsewhere = (read_place, read_layer) != (place, place_layer)
    reader = [model.intervention(read_place, read_layer, remember, after_recording=True)] if reads_elsewhere else []
    return [*reader, model.intervention(place, place_layer, replace, after_recording=True)]
