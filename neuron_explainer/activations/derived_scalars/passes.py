"""One forward pass, and at most one backward pass over activations, that record exactly what a plan needs."""

from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neuron_explainer.activations.derived_scalars.indexing import AblationSpec
from neuron_explainer.activations.derived_scalars.losses import Loss
from neuron_explainer.activations.derived_scalars.online import error_place, latent_place, run_online
from neuron_explainer.activations.derived_scalars.plan import Plan
from neuron_explainer.activations.derived_scalars.scalar_deriver import Recorded
from neuron_explainer.activations.derived_scalars.setting import Setting, kind_of_place
from neuron_explainer.activations.derived_scalars.traces import gradient_of_trace, value_of_trace
from neuron_explainer.models.model_component_registry import PassType


@dataclass(frozen=True)
class PassResult:
    """What a pass leaves behind, detached.

    Attributes:
        recorded: activations and gradients.
        loss: each prompt's loss, if one was given.
        traced: each prompt's traced activation, if one is traced.
        trace_gradient: the gradient of that with respect to the residual stream just before it, if it was needed.
    """

    recorded: dict[Recorded, Tensor]
    loss: Float[Tensor, " batch"] | None
    traced: Float[Tensor, " batch"] | None
    trace_gradient: Float[Tensor, "batch tokens d_model"] | None


def run_pass(
    plan: Plan,
    tokens: Int[Tensor, "batch tokens"],
    lengths: Int[Tensor, " batch"],
    attention_mask: Bool[Tensor, "batch tokens"] | None,
) -> PassResult:
    """Run the model as planned, over prompts that have been checked."""
    setting, model = plan.setting, plan.setting.model
    differentiated = set(plan.gradients)
    if plan.has_backward_pass and not setting.start.is_loss:
        differentiated.add(setting.start.residual)
    with ExitStack() as stack:
        for ablation in setting.ablations:
            stack.enter_context(_overwrite(setting, ablation))
        for node_type, layer in setting.online_autoencoders:
            stack.enter_context(run_online(setting, node_type, layer))
        graph = stack.enter_context(model.record(differentiated, gradients=True)) if differentiated else None
        recording = stack.enter_context(model.record(plan.activations | plan.traced_residuals))
        logits = model(tokens, attention_mask=attention_mask, logits_at=_logits_at(plan, lengths, attention_mask))
        with torch.set_grad_enabled(graph is not None):
            loss = None if setting.loss is None else _loss_of(setting.loss, logits, lengths)
            traced, direction = None, None
            if plan.traced_residuals:
                trace_of = gradient_of_trace if plan.needs_trace_gradient else value_of_trace
                traced, direction = trace_of(setting, setting.trace, lengths, lambda place: recording[place])
            if graph is not None and direction is not None:
                graph.backward((graph[setting.start.residual] * direction).sum())
            elif graph is not None and loss is not None:
                graph.backward(loss.sum())
    recorded = {Recorded(*key): recording[key] for key in plan.activations}
    if graph is not None:
        recorded |= {Recorded(*key, PassType.BACKWARD): graph.gradient(*key) for key in plan.gradients}
    return PassResult(recorded, None if loss is None else loss.detach(), traced, direction)


def _overwrite(setting: Setting, ablation: AblationSpec) -> AbstractContextManager[object]:
    """Overwrite the numbers that an ablation names, in every prompt of the batch."""
    index = ablation.index
    place = index.activation_location_type
    if place.is_online_autoencoder_place:
        context = setting.autoencoder_context(kind_of_place(place))
        place = error_place(context) if "ERROR" in place.name else latent_place(context)
    where = (slice(None), *index.slices)

    def overwrite(tensor: Tensor) -> Tensor:
        tensor[where] = ablation.value
        return tensor

    return setting.model.intervene(place, index.layer_index, overwrite, pass_type=index.pass_type)


def _logits_at(
    plan: Plan, lengths: Int[Tensor, " batch"], attention_mask: Bool[Tensor, "batch tokens"] | None
) -> Literal["all", "last"] | Tensor | None:
    """Where logits are needed: at all tokens, at each prompt's last one for a loss, or nowhere."""
    if plan.needs_all_logits:
        return "all"
    if plan.setting.loss is None:
        return None
    return "last" if attention_mask is None else lengths - 1


def _loss_of(
    loss: Loss, logits: Float[Tensor, "batch positions vocab"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    if loss.last_token_only and logits.shape[1] > 1:
        logits = logits[torch.arange(len(logits), device=logits.device), lengths - 1][:, None]
    return loss.of_logits(logits, lengths)
