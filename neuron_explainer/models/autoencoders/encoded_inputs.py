"""What an autoencoder encodes: mostly what it reconstructs; of a transcoder, what the MLP reads on its way to it."""

from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import AutoencoderMismatchError
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.variants.transcoder import Transcoder, TranscoderInput
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.models.layers.block import Block
from neuron_explainer.vocabulary.places import ActivationLocationType


def encoded_input(
    autoencoder: Autoencoder, block: Block, recorded: Float[Tensor, "batch tokens *rest"]
) -> Float[Tensor, "batch tokens inputs"]:
    """What an autoencoder encodes, from the tensor at the place that it reads; heads' channels are concatenated."""
    if isinstance(autoencoder, Transcoder) and _input_within(autoencoder, block) is TranscoderInput.NORMALISED:
        return block.mlp_norm.without_gain(recorded, block.mlp_norm.scale(recorded))
    return recorded.flatten(2)


def place_of_transcoder_input(autoencoder: Autoencoder, block: Block) -> PlaceAndLayer | None:
    """The place that a transcoder's input is computed from; None if the autoencoder reads what it reconstructs.

    Raises:
        AutoencoderMismatchError: the transcoder cannot run within this model.
    """
    if not isinstance(autoencoder, Transcoder):
        return None
    if _input_within(autoencoder, block) is TranscoderInput.NORMED:
        return ActivationLocationType.RESID_POST_ATTN_LAYER_NORM, block.layer
    return block.mlp_reads_from


def transcoder_input(
    transcoder: Transcoder, block: Block, resid: Float[Tensor, "batch tokens d_model"], detach_scale: bool
) -> Float[Tensor, "batch tokens inputs"]:
    """What a transcoder encodes, from the residual stream that its layer's MLP reads."""
    match _input_within(transcoder, block):
        case TranscoderInput.NORMED:
            return block.mlp_input(resid, detach_scale)
        case TranscoderInput.NORMALISED:
            scale = block.mlp_norm.scale(resid)
            return block.mlp_norm.without_gain(resid, scale.detach() if detach_scale else scale)
        case _:
            return resid


def _input_within(transcoder: Transcoder, block: Block) -> TranscoderInput:
    """Where a transcoder reads in this model.

    Raises:
        AutoencoderMismatchError: the transcoder does not say what it reads, or the model has no such output.
    """
    if transcoder.reads is None:
        raise AutoencoderMismatchError(
            f"{transcoder!r} does not say which input of an MLP it reads, so it cannot run within a model. Set it with "
            "dataclasses.replace(transcoder, reads=…): "
            f"{', '.join(hook.value for hook in TranscoderInput)}."
        )
    if transcoder.predicts_before_post_norm and block.mlp_post_norm is not None:
        raise AutoencoderMismatchError(
            f"{transcoder!r} predicts the MLP's output before its post-norm (mlp.hook_out). In this model only the "
            "output after it (hook_mlp_out) is a place."
        )
    if transcoder.reads is TranscoderInput.NORMED and transcoder.has_folded_norms:
        return TranscoderInput.NORMALISED
    return transcoder.reads
