"""One forward pass, and at most one backward pass over activations, that record exactly what a plan needs."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neuron_explainer.activations.derived_scalars.ablating.asked_change import current_asked_change
from neuron_explainer.activations.derived_scalars.ablating.hooks import FINAL_NORM_FROZEN, ablation_hooks
from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.capture_plan import CapturePlan
from neuron_explainer.activations.derived_scalars.engine.evaluation import Recorded
from neuron_explainer.activations.derived_scalars.engine.online_autoencoders import online_autoencoder
from neuron_explainer.activations.derived_scalars.engine.traces import gradient_of_trace, value_of_trace
from neuron_explainer.activations.derived_scalars.losses.bound_loss import BoundLoss
from neuron_explainer.activations.derived_scalars.losses.objective import Evaluated, Objective
from neuron_explainer.models.hooks.intervention import Intervention
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.models.layers.routed import Neurons
from neuron_explainer.models.watching import part_of_work
from neuron_explainer.vocabulary.nodes import PassType


@dataclass(frozen=True)
class PassResult:
    """What a pass gives, detached.

    Attributes:
        recorded: activations and gradients.
        loss: each prompt's loss, if a loss was given.
        traced: each prompt's traced activation, if there is a trace.
        trace_gradient: its gradient with respect to the residual stream just before it, if that was needed.
        objective: what the objective gives, if the loss is one.
    """

    recorded: dict[Recorded, Neurons]
    loss: Float[Tensor, " batch"] | None
    traced: Float[Tensor, " batch"] | None
    trace_gradient: Float[Tensor, "batch tokens d_model"] | None
    objective: Evaluated | None = None


def run_pass(
    plan: CapturePlan,
    tokens: Int[Tensor, "batch tokens"],
    lengths: Int[Tensor, " batch"],
    attention_mask: Bool[Tensor, "batch tokens"] | None,
) -> PassResult:
    """Run the model as planned, on prompts that have been checked."""
    bound, model = plan.bound, plan.bound.model
    differentiated = set(plan.gradients)
    if plan.has_backward_pass and not bound.start.is_loss:
        differentiated.add(bound.start.residual)
    # The hooks belong to this pass alone: nothing stays on the model when it is interrupted.
    hooks = interventions_of(bound)
    is_frozen = bound.freeze_final_norm and plan.has_backward_pass
    frozen = ablation_hooks(bound, [FINAL_NORM_FROZEN]) if is_frozen else []
    graph = model.recording(differentiated, gradients=True) if differentiated else None
    recording = model.recording(plan.activations | plan.traced_residuals)
    recordings = [recording] if graph is None else [graph, recording]
    passed_on: dict[PlaceAndLayer, Tensor] = {}
    readers = _readers_after_autoencoders(bound, plan.traced_residuals, passed_on)

    def residual_at(key: PlaceAndLayer) -> Tensor:
        return passed_on[key].detach() if key in passed_on else recording[key]

    n_parts = 1 if graph is None else 2  # of the work that is told of: forward and backward
    with part_of_work(0, n_parts):
        logits = model(
            tokens,
            attention_mask=attention_mask,
            logits_at=_logits_at(plan, lengths, attention_mask),
            hooks=[*frozen, *hooks, *recordings, *readers],
        )
    with torch.set_grad_enabled(graph is not None), part_of_work(n_parts - 1, n_parts):
        loss, evaluated = None, None
        traced, direction = None, None
        if isinstance(bound.loss, Objective):
            evaluated = bound.loss.evaluate(residual_at, lengths, plan.has_backward_pass or bool(plan.others))
            loss, direction = evaluated.values, evaluated.gradient
        elif bound.loss is not None:
            loss = _loss_of(bound.loss, logits, lengths)
        if bound.config.trace_config is not None and plan.traced_residuals:
            trace_of = gradient_of_trace if plan.needs_trace_gradient else value_of_trace
            traced, direction = trace_of(bound, bound.trace, lengths, residual_at)
        if graph is not None and direction is not None:
            start = bound.start.residual
            graph.backward(((passed_on[start] if start in passed_on else graph[start]) * direction).sum())
        elif graph is not None and loss is not None:
            graph.backward(loss.sum())
    for hook in hooks:
        hook.raise_if_never_fired()
    recorded = {Recorded(*key): recording.kept(key) for key in plan.activations}
    if graph is not None:
        recorded |= {Recorded(*key, PassType.BACKWARD): graph.kept_gradient(*key) for key in plan.gradients}
    traced_direction = None if traced is None else direction
    return PassResult(recorded, None if loss is None else loss.detach(), traced, traced_direction, evaluated)


def interventions_of(bound: BoundConfig) -> list[Intervention]:
    """What takes part in the pass beside recordings: ablations, and autoencoders that run within it."""
    hooks = ablation_hooks(bound, bound.ablations, current_asked_change())
    for node_type, layer in bound.online_autoencoders:
        hooks += online_autoencoder(bound, node_type, layer)
    return hooks


def _readers_after_autoencoders(
    bound: BoundConfig, places: Iterable[PlaceAndLayer], passed_on: dict[PlaceAndLayer, Tensor]
) -> list[Intervention]:
    """What reads the residual stream after the autoencoders that run there, which recordings see before them.

    Args:
        bound: the configuration.
        places: where the residual stream is read.
        passed_on: filled with the tensors with which the pass goes on.
    """
    online = {bound.autoencoder_place(node_type, layer) for node_type, layer in bound.online_autoencoders}

    def reader(key: PlaceAndLayer) -> Intervention:
        def keep(tensor: Tensor) -> Tensor:
            passed_on[key] = tensor
            return tensor

        return bound.model.intervention(*key, keep, after_recording=True)

    return [reader(key) for key in places if key in online]


def _logits_at(
    plan: CapturePlan, lengths: Int[Tensor, " batch"], attention_mask: Bool[Tensor, "batch tokens"] | None
) -> Literal["all", "last"] | Tensor | None:
    """The tokens whose logits are needed: all, each prompt's last one (for a loss), or none."""
    if plan.needs_all_logits:
        return "all"
    if plan.bound.loss is None or isinstance(plan.bound.loss, Objective):
        return None
    return "last" if attention_mask is None else lengths - 1


def _loss_of(
    loss: BoundLoss, logits: Float[Tensor, "batch positions vocab"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    if loss.last_token_only and logits.shape[1] > 1:
        logits = logits[torch.arange(len(logits), dtype=torch.int64, device=logits.device), lengths - 1][:, None]
    return loss.of_logits(logits, lengths)
