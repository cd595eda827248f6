"""What a pass has to record so that all requested scalars can be computed from it."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.evaluation import DERIVERS, Deriver, Recorded
from neuron_explainer.activations.derived_scalars.engine.requests import ScalarRequest
from neuron_explainer.activations.derived_scalars.engine.traces import residuals_needed
from neuron_explainer.activations.derived_scalars.losses.objective import Objective
from neuron_explainer.errors import MisconfiguredError, NothingToDifferentiateError, UnmetNeedError
from neuron_explainer.models.hooks.recording import PlaceAndLayer
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

_NOTHING: Mapping[str, Deriver] = MappingProxyType({})


class CapturePlan:
    """All needs of all requests.

    Attributes:
        requests: the requested scalars.
        others: what else is computed layer by layer, by name, wherever it applies.
        bound_configs: the requests' configurations, each once.
        bound: the configuration that the pass runs with: that of the requests that need gradients, or the first one.
        activations: places to record.
        gradients: places whose gradient is recorded; empty if no backward pass is needed.
        steps: the layers in the order in which scalars are computed; None, for scalars without layers, comes first.
        last_use: for every recording, the last step that needs it.
    """

    def __init__(self, requests: Sequence[ScalarRequest], others: Mapping[str, Deriver] = _NOTHING) -> None:
        self.requests = requests
        self.others = others
        self.bound_configs = tuple(dict.fromkeys(request.bound for request in requests))
        self.steps: list[int | None] = [None, *range(requests[0].bound.model.config.n_layers)]
        self.last_use: dict[Recorded, int] = {}
        differentiated: list[BoundConfig] = []
        wanted = [
            (request.bound, layer, DERIVERS[request.dst, request.pass_type], request.dst.value)
            for request in requests
            for layer in request.layers
        ]
        wanted += [
            (requests[0].bound, layer, deriver, name) for name, deriver in others.items() for layer in self.steps
        ]
        for bound, layer, deriver, name in wanted:
            step = self.steps.index(layer)
            with UnmetNeedError.of(name):
                recordings = list(deriver.recordings(bound, layer))
            for recorded in recordings:
                self.last_use[recorded] = max(step, self.last_use.get(recorded, 0))
                if recorded.pass_type is PassType.BACKWARD and bound not in differentiated:
                    differentiated.append(bound)
        self.bound = differentiated[0] if differentiated else requests[0].bound
        if any(bound.config.trace_config != self.bound.config.trace_config for bound in differentiated):
            raise MisconfiguredError(
                "These configurations trace different activations, but one call differentiates only one. Derive them "
                "in separate calls."
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
                "An ablation overwrites a gradient, but no requested scalar needs the backward pass."
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
            or not (
                self.bound.loss is None or isinstance(self.bound.loss, Objective) or self.bound.loss.last_token_only
            )
        )

    @property
    def traced_residuals(self) -> set[PlaceAndLayer]:
        """The residual-stream places that the traced activation is recomputed from, if it is computed in the pass.

        Or those that an objective reads. A trace of all tokens does not have one value, and is computed only if it is
        differentiated.
        """
        trace, loss = self.bound.config.trace_config, self.bound.loss
        if trace is None and isinstance(loss, Objective):
            return set(loss.reads)
        if trace is None or not (self.has_backward_pass or trace.node_index.is_one_number):
            return set()
        return set(residuals_needed(self.bound, trace))

    def release(self, recorded: dict[Recorded, Any], step: int) -> None:
        """Release the recordings that no later step needs."""
        for key in [key for key in recorded if self.last_use.get(key, 0) <= step]:
            del recorded[key]

    def __repr__(self) -> str:
        asked: Any = [request.dst.value for request in self.requests]
        return f"CapturePlan({asked}: {len(self.activations)} activations, {len(self.gradients)} gradients)"
