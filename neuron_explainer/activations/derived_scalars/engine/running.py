"""Run a plan: one pass, then the derived scalars layer by layer. And cut a batch's results into each prompt's."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine.capture_plan import CapturePlan
from neuron_explainer.activations.derived_scalars.engine.evaluation import Evaluation
from neuron_explainer.activations.derived_scalars.engine.passes import PassResult, run_pass
from neuron_explainer.models.layers.routed import Neurons, RoutedTensor
from neuron_explainer.models.watching import stop_if_asked
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import PassType

TensorsByKey = dict[tuple[DerivedScalarType, PassType], dict[int | None, Neurons]]


@dataclass(frozen=True)
class Run:
    """What running a plan gives, for the whole batch, padding included.

    Attributes:
        result: what the pass gives.
        tensors: the derived scalars.
        others: the plan's `others`, by name and layer.
    """

    result: PassResult
    tensors: TensorsByKey
    others: dict[str, dict[int | None, Any]]


def run_plan(
    plan: CapturePlan, tokens: Int[Tensor, "batch tokens"], attention_mask: Bool[Tensor, "batch tokens"] | None
) -> Run:
    """Run the model once, then compute layer by layer. Tensors are released after their last use."""
    device = plan.bound.model.device
    if attention_mask is None:
        lengths = torch.full((len(tokens),), tokens.shape[1], dtype=torch.int64, device=device)
    else:
        lengths = attention_mask.sum(dim=1).to(device, non_blocking=True)
    with torch.inference_mode(mode=False):
        result = run_pass(plan, tokens, lengths, attention_mask)
    recorded = result.recorded
    evaluations = {
        bound: Evaluation(
            bound,
            recorded,
            lengths,
            tokens.shape[1],
            result.trace_gradient if bound.config.trace_config == plan.bound.config.trace_config else None,
            result.objective,
        )
        for bound in plan.bound_configs
    }
    tensors: TensorsByKey = {(request.dst, request.pass_type): {} for request in plan.requests}
    others: dict[str, dict[int | None, Any]] = {name: {} for name in plan.others}
    with torch.no_grad():
        for step, layer in enumerate(plan.steps):
            stop_if_asked()
            for request in plan.requests:
                if layer in request.layers:
                    evaluation = evaluations[request.bound]
                    tensors[request.dst, request.pass_type][layer] = evaluation.scalar(
                        request.dst, request.pass_type, layer
                    )
            for name, deriver in plan.others.items():
                if deriver.applies(plan.bound, layer):
                    others[name][layer] = deriver.compute(evaluations[plan.bound], layer)
            plan.release(recorded, step)
            if layer is not None:
                for evaluation in evaluations.values():
                    evaluation.forget_layer(layer)
    return Run(result, tensors, others)


def of_prompt(tensors: TensorsByKey, number: int, n_tokens: int) -> TensorsByKey:
    """One prompt's part of the batch's results, without its padding."""
    return {
        key: {layer: _cut(tensor, number, key[0], n_tokens) for layer, tensor in by_layer.items()}
        for key, by_layer in tensors.items()
    }


def _cut(tensor: Neurons, number: int, dst: DerivedScalarType, n_tokens: int) -> Neurons:
    """One prompt's numbers, copied unless they own their whole storage.

    The pairs of the first n tokens come first in the flattened lower triangle, so padding is at the end there too.
    """
    if isinstance(tensor, RoutedTensor):
        routed = tensor[number, :n_tokens]
        return routed if tensor.shape[:2] == (1, n_tokens) else routed.clone()
    n_pairs = n_tokens * (n_tokens + 1) // 2
    kept = tuple(
        slice(n_pairs if dimension is Dimension.SEQUENCE_TOKEN_PAIRS else n_tokens)
        if dimension.is_sequence_token_dimension
        else slice(None)
        for dimension in dst.shape_spec_per_token_sequence
    )
    own = tensor[(number, *kept)]
    return own if own.numel() * own.element_size() == own.untyped_storage().nbytes() else own.clone()
