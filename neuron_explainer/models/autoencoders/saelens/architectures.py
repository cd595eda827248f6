"""The architectures that SAELens saves, by name, and building an autoencoder of any of them."""

from collections.abc import Callable

from neuron_explainer.errors import AutoencoderFormatError, choices_sentence, nearest_first, shown
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.saelens import linear, variants
from neuron_explainer.models.autoencoders.saelens.config import SaelensConfig
from neuron_explainer.models.autoencoders.saelens.folding import fold
from neuron_explainer.models.autoencoders.saelens.weights import (
    Weights,
    refuse_finetuning_scale,
    refuse_what_is_left,
)

BUILDER_BY_ARCHITECTURE: dict[str, Callable[[SaelensConfig, Weights, list[str]], Autoencoder]] = {
    "standard": linear.standard,
    "topk": linear.largest_k,
    "abstopk": linear.largest_k,
    "jumprelu": linear.jump_relu,
    "batchtopk": linear.batch_top_k,
    "matryoshka_batchtopk": linear.batch_top_k,
    "gated": linear.gated,
    "matching_pursuit": variants.matching_pursuit,
    "temporal": variants.temporal,
    "transcoder": variants.transcoder,
    "skip_transcoder": variants.transcoder,
    "jumprelu_transcoder": variants.transcoder,
    "jumprelu_skip_transcoder": variants.transcoder,
}


def build_autoencoder(config: SaelensConfig, weights: Weights) -> Autoencoder:
    """The autoencoder of a config and its tensors; scales and norms are folded into copies of the tensors.

    Raises:
        AutoencoderFormatError: the architecture, a setting or a tensor is not supported, or the config contradicts the
            tensors.
    """
    build = BUILDER_BY_ARCHITECTURE.get(config.architecture)
    if build is None:
        raise AutoencoderFormatError(
            f"{config.source}: the architecture {shown(config.architecture, 100)} is not supported. "
            f"{choices_sentence(nearest_first(config.architecture, BUILDER_BY_ARCHITECTURE))}"
        )
    if config.metadata.get("hook_head_index") is not None:
        raise AutoencoderFormatError(f"{config.source}: autoencoders of a single head are not supported.")
    refuse_finetuning_scale(weights, config)
    applied: list[str] = []
    try:
        built = build(config if config.is_transcoder else fold(config, weights, applied), weights, applied)
    except AutoencoderFormatError as error:
        prefix = "" if str(error).startswith(config.source) else f"{config.source}: "
        raise AutoencoderFormatError(f"{prefix}{error}") from None
    refuse_what_is_left(weights, config)
    return built
