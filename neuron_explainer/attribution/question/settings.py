"""The model with its autoencoders and ablations, as a question takes them."""

from collections.abc import Iterable
from dataclasses import replace

from neuron_explainer.activations.derived_scalars.ablating.given import AblationsGiven, bound_ablations
from neuron_explainer.activations.derived_scalars.config import ConfigOrModel, DstConfig, as_config
from neuron_explainer.activations.derived_scalars.tensor_ablations import Ablation
from neuron_explainer.attribution.changes.descriptions import described
from neuron_explainer.attribution.computing.passes import Setting
from neuron_explainer.errors import InvalidRequestError, MisconfiguredError, shown
from neuron_explainer.models.autoencoder_context import AutoencoderContext, MultiAutoencoderContext
from neuron_explainer.vocabulary.checks import is_several
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

AutoencodersGiven = AutoencoderContext | MultiAutoencoderContext | Iterable[AutoencoderContext] | None

_PLACE = ActivationLocationType
_NO_PARTS = {
    _PLACE.RESID_POST_ATTN: "the residual stream",
    _PLACE.RESID_POST_MLP: "the residual stream",
    _PLACE.RESID_FINAL_LAYER_NORM_SCALE: "the final norm",
    _PLACE.RESID_POST_FINAL_LAYER_NORM: "the final norm",
    _PLACE.LOGITS: "the logits",
}


def read_setting(model: ConfigOrModel, autoencoders: AutoencodersGiven, ablations: AblationsGiven) -> Setting:
    """The setting.

    Raises:
        MisconfiguredError: `model` is neither a model nor a DstConfig, autoencoders are given twice, or something else
            is given as autoencoders or ablations.
        InvalidRequestError: an ablation is of a place at which parts do not add up.
    """
    config = as_config(model, "model")
    if config.layer_indices is not None:
        raise MisconfiguredError("The config has layer_indices, but parts add up over all layers. Leave them out.")
    if config.trace_config is not None:
        raise MisconfiguredError("The config has a trace_config. Leave it out, and use the answer's trace(…).")
    is_list = isinstance(ablations, Iterable) and not isinstance(ablations, str)
    given = tuple(ablations) if is_list else ablations  # type: ignore[arg-type]
    bound_ablations(given)  # refuses what is not an ablation
    several = given if isinstance(given, tuple) else () if given is None else (given,)
    for ablation in several:
        check_ablation(ablation)
    return Setting(with_autoencoders(config, autoencoders), several, tuple(map(described, several)))


def check_ablation(ablation: Ablation) -> None:
    """Refuse an ablation at a place at which the parts of an answer no longer add up.

    Raises:
        InvalidRequestError: it is one.
    """
    place = ablation.index.activation_location_type
    if ablation.index.pass_type is PassType.BACKWARD:
        raise InvalidRequestError(f"{ablation.index!r} is a gradient. An answer takes ablations of activations alone.")
    if place in _NO_PARTS:
        raise InvalidRequestError(
            f"{place.value} is a place of {_NO_PARTS[place]}: what is written there is not the sum of parts. Overwrite "
            "the embedding, heads, neurons, latents, or a layer's MLP or attention."
        )


def with_autoencoders(config: DstConfig, given: AutoencodersGiven) -> DstConfig:
    """A configuration with the autoencoders that a caller gives, too.

    Raises:
        MisconfiguredError: it has some already, or something else is given.
    """
    if given is None:
        return config
    if any((config.autoencoder_context, config.multi_autoencoder_context, config.autoencoder_config)):
        raise MisconfiguredError("Autoencoders are given, and the config has some too. Give them once.")
    if isinstance(given, AutoencoderContext):
        return replace(config, autoencoder_context=given)
    if isinstance(given, MultiAutoencoderContext):
        return replace(config, multi_autoencoder_context=given)
    several = list(given) if is_several(given) and not isinstance(given, str) else []
    if not several or not all(isinstance(each, AutoencoderContext) for each in several):
        raise MisconfiguredError(
            f"autoencoders is {shown(given)}. Give what ne.load_autoencoders returns, or a list of such."
        )
    if len(several) == 1:
        return replace(config, autoencoder_context=several[0])
    return replace(config, multi_autoencoder_context=MultiAutoencoderContext.from_context_list(several))
