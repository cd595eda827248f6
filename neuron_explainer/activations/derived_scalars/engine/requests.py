"""What a call asks for, bound to its model. Impossible requests are refused here, before the model runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, cast

from neuron_explainer.activations.derived_scalars.ablating.given import AblationsByPrompt, bound_ablations
from neuron_explainer.activations.derived_scalars.config import ConfigOrModel, DstConfig, as_config
from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.config_checks import check_bound
from neuron_explainer.activations.derived_scalars.engine.evaluation import DERIVERS
from neuron_explainer.activations.derived_scalars.engine.layers_of_scalar import layers_of_scalar
from neuron_explainer.activations.derived_scalars.engine.prompts import token_id_of
from neuron_explainer.activations.derived_scalars.losses.losses_of_prompts import LossOfEach, bind_losses
from neuron_explainer.errors import (
    InvalidRequestError,
    MisconfiguredError,
    MissingSettingError,
    UnmetNeedError,
    shown,
)
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.checks import checked_flag, checked_layer
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of

if TYPE_CHECKING:
    from neuron_explainer.activations.derived_scalars.ablating.bound_ablation import BoundAblation
    from neuron_explainer.activations.derived_scalars.loss import LossFnConfig, LossFunction
    from neuron_explainer.activations.derived_scalars.losses.bound_loss import BoundLoss
    from neuron_explainer.activations.derived_scalars.losses.objective import Objective

    LossByPrompt = LossFnConfig | LossFunction | Sequence[LossFnConfig | LossFunction]

DstOrPair = DerivedScalarType | str | tuple[DerivedScalarType | str, ConfigOrModel]
"""A derived scalar type, its name or its value; alone, or with a configuration (or model) of its own."""


@dataclass(frozen=True)
class ScalarRequest:
    """One derived scalar, its values or its gradient, for some layers (None: a scalar without layers)."""

    bound: BoundConfig
    dst: DerivedScalarType
    pass_type: PassType
    layers: tuple[int | None, ...]


def check_order(prompt: object, dsts: object, config: object) -> None:
    """Refuse arguments of `derive` that are in each other's place.

    Raises:
        MisconfiguredError: the prompt is a scalar, a model or a config, `dsts` is a model or a config, or `config` is a
            scalar.
    """
    places = {"prompt": prompt, "dsts": dsts, "config": config}
    misplaced = [name for name in ("prompt", "dsts") if isinstance(places[name], ConfigOrModel)]
    misplaced += [name for name in ("prompt", "config") if isinstance(places[name], DerivedScalarType)]
    if misplaced:
        raise MisconfiguredError(
            f"{misplaced[0]} is of type {type(places[misplaced[0]]).__name__}. The order of the arguments is: "
            "derive(prompt, dsts, config), where config is a model or a DstConfig."
        )


def parse_requests(
    dsts: DstOrPair | Iterable[DstOrPair],
    config: ConfigOrModel | None,
    loss: LossByPrompt | Objective | None,
    ablations: AblationsByPrompt,
    freeze_final_norm: bool = False,
    n_prompts: int | None = None,
) -> list[ScalarRequest]:
    """What a call asks for.

    Args:
        dsts: one type, several, or (type, config) pairs.
        config: the configuration, or model, for types that come without their own.
        loss: where the backward pass starts, unless at a trace; or a list with one for each prompt.
        ablations: what is overwritten; or a list with a list for each prompt.
        freeze_final_norm: whether the backward pass holds the final norm's scale constant.
        n_prompts: how many prompts there are; None where nothing can be given for each prompt.

    Raises:
        MisconfiguredError: a configuration lacks what a type is about, or configurations contradict each other.
        InvalidRequestError: a layer or a component is out of range.
        UnknownNameError: a type does not exist.
    """
    freezes = checked_flag("freeze_final_norm", freeze_final_norm)
    overwritten = bound_ablations(ablations, n_prompts)
    pairs = list(_pairs(dsts, config))
    if not pairs:
        raise InvalidRequestError("No derived scalar was asked for. Give at least one DerivedScalarType.")
    model_context = pairs[0][1].get_model_context()
    model = pairs[0][1].get_or_create_model()
    bound_loss = bind_losses(loss, partial(token_id_of, model_context), model.device, n_prompts)
    bound_configs: dict[int, BoundConfig] = {}
    requests: dict[tuple[DerivedScalarType, PassType], ScalarRequest] = {}
    for dst, own_config in pairs:
        if id(own_config) not in bound_configs:
            bound_configs[id(own_config)] = _bound(own_config, model, bound_loss, overwritten, freezes)
        for request in _requests_of(bound_configs[id(own_config)], dst):
            key = request.dst, request.pass_type
            if key in requests and requests[key].bound is not request.bound:
                raise MisconfiguredError(
                    f"{dst.value} was asked for with two configurations. Derive it in two separate calls."
                )
            requests[key] = request
    return list(requests.values())


def of_prompts(requests: Sequence[ScalarRequest], numbers: Sequence[int]) -> list[ScalarRequest]:
    """The same requests for some of the prompts alone, with what is given for each of them."""
    kept = {request.bound: bound_of_prompts(request.bound, numbers) for request in requests}
    return [replace(request, bound=kept[request.bound]) for request in requests]


def bound_of_prompts(bound: BoundConfig, numbers: Sequence[int]) -> BoundConfig:
    """The same configuration for some of the prompts alone."""
    loss = bound.loss.of_prompts(numbers) if isinstance(bound.loss, LossOfEach) else bound.loss
    ablations = [ablation.of_prompts(numbers) for ablation in bound.ablations]
    return replace(bound, loss=loss, ablations=tuple(ablation for ablation in ablations if ablation is not None))


def _bound(
    config: DstConfig,
    model: Transformer,
    loss: BoundLoss | Objective | None,
    ablations: tuple[BoundAblation, ...],
    freeze_final_norm: bool,
) -> BoundConfig:
    """A configuration bound to its model, and checked."""
    if config.get_or_create_model() is not model:
        raise MisconfiguredError("All configurations of one call must have the same model.")
    n_layers = model.config.n_layers
    layers = range(n_layers) if config.layer_indices is None else config.layer_indices
    checked = sorted(checked_layer(layer, n_layers, "layer_indices: the model") for layer in layers)
    bound = BoundConfig(config, model, tuple(checked), loss, ablations, freeze_final_norm)
    check_bound(bound)
    return bound


def _pairs(
    dsts: DstOrPair | Iterable[DstOrPair], config: ConfigOrModel | None
) -> Iterator[tuple[DerivedScalarType, DstConfig]]:
    if isinstance(dsts, str) or (isinstance(dsts, tuple) and len(dsts) == 2 and isinstance(dsts[1], ConfigOrModel)):
        dsts = cast("list[DstOrPair]", [dsts])
    if not isinstance(dsts, Iterable):
        raise InvalidRequestError(f"dsts must be a DerivedScalarType or several, not {shown(dsts)}.")
    configs: dict[int, DstConfig] = {}  # so that one model, or configuration, stays one
    for entry in dsts:
        dst, own_config = entry if isinstance(entry, tuple) and len(entry) == 2 else (entry, config)
        if own_config is None:
            remedy = "Pass it, as derive(prompt, dsts, model), or set DstConfig's `model_context`."
            with UnmetNeedError.of(str(dst)):
                raise MissingSettingError("model_context", "a model", remedy)
        if id(own_config) not in configs:
            configs[id(own_config)] = as_config(own_config)
        yield derived_scalar_type_of(cast("DerivedScalarType | str", dst)), configs[id(own_config)]


def _requests_of(bound: BoundConfig, dst: DerivedScalarType) -> Iterator[ScalarRequest]:
    pass_types = [PassType.FORWARD]
    if bound.config.derive_gradients and (dst, PassType.BACKWARD) in DERIVERS:
        pass_types.append(PassType.BACKWARD)
    for pass_type in pass_types:
        with UnmetNeedError.of(dst.value if pass_type is PassType.FORWARD else f"The gradient of {dst.value}"):
            if dst.needs_trace_gradient:
                _ = bound.trace
            if dst.requires_grad_for_pass_type(pass_type):
                _ = bound.start
            if bound.freeze_final_norm and bound.config.trace_config is not None:
                _refuse_to_freeze(dst, pass_type)
            layers = layers_of_scalar(bound, dst)
        yield ScalarRequest(bound, dst, pass_type, layers)


def _refuse_to_freeze(dst: DerivedScalarType, pass_type: PassType) -> None:
    """Refuse to hold the final norm's scale constant for a type that needs the gradient of a traced activation.

    Raises:
        MisconfiguredError: it is such a type.
    """
    if dst.needs_trace_gradient or dst.requires_grad_for_pass_type(pass_type):
        raise MisconfiguredError(
            "freeze_final_norm is about the gradient of a loss, but the config's trace_config is differentiated "
            "instead. Leave it out; TraceConfig has `detach_layer_norm_scale` for the norm before what is traced."
        )
