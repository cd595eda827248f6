"""What a pass has to record so that everything asked for can be computed from it."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.requests import ScalarRequest
from neuron_explainer.activations.derived_scalars.engine.scalar_deriver import DERIVERS, Recorded
from neuron_explainer.activations.derived_scalars.engine.traces import residuals_needed
from neuron_explainer.errors import MisconfiguredError, NothingToDifferentiateError
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.places import ActivationLocationType


class CapturePlan:
    """The closure of what is needed.

    Attributes:
        requests: what was asked for.
        bound_configs: the requests' bound_configs, each once.
        bound: what the pass runs with: the bound of the request whose gradients are needed, or of the first one.
        activations: places to record.
        gradients: places whose gradient is to be recorded; none if no backward pass is needed.
        last_use: for everything recorded, the last step that needs it; a step is a layer, the first being the scalars
            without layers.
    """

    def __init__(self, requests: Sequence[ScalarRequest]) -> None:
        self.requests = requests
        self.bound_configs = tuple(dict.fromkeys(request.bound for request in requests))
        self.steps: list[int | None] = [None, *range(requests[0].bound.model.config.n_layers)]
        self.last_use: dict[Recorded, int] = {}
        differentiated: list[BoundConfig] = []
        for request in requests:
            for layer in request.layers:
                step = self.steps.index(layer)
                for recorded in DERIVERS[request.dst, request.pass_type].recordings(request.bound, layer):
                    self.last_use[recorded] = max(step, self.last_use.get(recorded, 0))
                    if recorded.pass_type is PassType.BACKWARD and request.bound not in differentiated:
                        differentiated.append(request.bound)
        self.bound = differentiated[0] if differentiated else requests[0].bound
        if any(bound.config.trace_config != self.bound.config.trace_config for bound in differentiated):
            raise MisconfiguredError(
                "One call differentiates one thing, and these configurations trace different activations: derive them "
                "one at a time."
            )
        self.activations = {
            (recorded.place, recorded.layer) for recorded in self.last_use if recorded.pass_type is PassType.FORWARD
        }
        self.gradients = {
            (recorded.place, recorded.layer)
            for recorded in self.last_use
            if recorded.pass_type is PassType.BACKWARD and self.bound.has_gradient(recorded.place, recorded.layer)
        }
        self.has_backward_pass = bool(differentiated)
        if not self.has_backward_pass and any(
            ablation.index.pass_type is PassType.BACKWARD for ablation in self.bound.ablations
        ):
            raise NothingToDifferentiateError(
                "A gradient is to be overwritten, and nothing that was asked for needs a backward pass."
            )

    @property
    def needs_trace_gradient(self) -> bool:
        """Whether the traced activation is differentiated, by the model's backward pass or locally."""
        return self.has_backward_pass or any(request.dst.needs_trace_gradient for request in self.requests)

    @property
    def needs_all_logits(self) -> bool:
        """Whether the pass has to compute the logits of all tokens."""
        place = ActivationLocationType.LOGITS
        touched = (ablation.index.activation_location_type for ablation in self.bound.ablations)
        return (
            any((place, None) in places for places in (self.activations, self.gradients))
            or place in touched
            or (self.bound.loss is not None and not self.bound.loss.last_token_only)
        )

    @property
    def traced_residuals(self) -> set[PlaceAndLayer]:
        """The residual stream that the traced activation is recomputed from, if one is traced and its value is known.

        A trace of a whole axis of tokens is of no one number, and is computed only if it is differentiated.
        """
        trace = self.bound.config.trace_config
        if trace is None or not (self.has_backward_pass or trace.node_index.is_one_number):
            return set()
        return set(residuals_needed(self.bound, trace))

    def release(self, recorded: dict[Recorded, Tensor], step: int) -> None:
        """Let go of recordings that no later step needs."""
        for key in [key for key in recorded if self.last_use.get(key, 0) <= step]:
            del recorded[key]

    def __repr__(self) -> str:
        asked: Any = [request.dst.value for request in self.requests]
        return f"CapturePlan({asked}: {len(self.activations)} activations, {len(self.gradients)} gradients)"
