"""Needs and derivers, and the evaluation that computes them from what a pass has recorded.

A *need* is what one argument of a deriver's function takes. It says what a pass has to record, and gives its value
after the pass. A *deriver* is a pure function with a need for each argument. An *evaluation* holds the recordings of
one pass and computes each intermediate result once. All tensors have the batch as their first axis.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.losses.objective import Evaluated
from neuron_explainer.models.layers.routed import Neurons, RoutedTensor, dense
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

Where = Callable[[BoundConfig, int | None], bool]
"""Tells whether a scalar can be non-zero in a layer."""


@dataclass(frozen=True)
class Recorded:
    """The name of a tensor that a pass records: an activation, or (BACKWARD) the gradient with respect to it."""

    place: ActivationLocationType
    layer: int | None
    pass_type: PassType = PassType.FORWARD


class Need(ABC):
    """What one argument of a deriver's function takes, for any layer."""

    @abstractmethod
    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """What a pass has to record for it."""

    @abstractmethod
    def value(self, evaluation: Evaluation, layer: int | None) -> Any:
        """Its value, after the pass."""


@dataclass(frozen=True, eq=False)
class Deriver:
    """A pure function and the needs of its arguments.

    Attributes:
        function: gives the values, with the batch as their first axis.
        needs: for each argument, its need.
        where: the layers in which the values can be non-zero; the function is not called for the others. None: all.
    """

    function: Callable[..., Any]
    needs: Mapping[str, Need]
    where: Where | None = None

    def applies(self, bound: BoundConfig, layer: int | None) -> bool:
        """Whether the values can be non-zero in a layer."""
        return self.where is None or self.where(bound, layer)

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """What a pass has to record for a layer."""
        if self.applies(bound, layer):
            for need in self.needs.values():
                yield from need.recordings(bound, layer)

    def compute(self, evaluation: Evaluation, layer: int | None) -> Any:
        """The function's result for a layer."""
        return self.function(**{name: need.value(evaluation, layer) for name, need in self.needs.items()})


DERIVERS: dict[tuple[DerivedScalarType, PassType], Deriver] = {}
"""The deriver of every derived scalar, and (BACKWARD) of its gradient, if it has one."""


class Evaluation:
    """The tensors of one pass, and what has been computed from them so far.

    Attributes:
        bound: the configuration that they are computed for.
        lengths: how many real tokens each prompt has, on the model's device.
        n_prompts, n_tokens: the batch's sizes, padding included.
        trace_gradient: the gradient of the traced activation with respect to the residual stream just before it, if the
            pass has computed it.
        objective: what the objective gives, if the pass has one.
    """

    def __init__(
        self,
        bound: BoundConfig,
        recorded: Mapping[Recorded, Neurons],
        lengths: Int[Tensor, " batch"],
        n_tokens: int,
        trace_gradient: Float[Tensor, "batch tokens d_model"] | None = None,
        objective: Evaluated | None = None,
    ) -> None:
        self.bound = bound
        self.lengths = lengths
        self.n_prompts = len(lengths)
        self.n_tokens = n_tokens
        self.trace_gradient = trace_gradient
        self.objective = objective
        self._recorded = recorded
        self._scalars: dict[tuple[DerivedScalarType, PassType, int | None], Neurons] = {}
        self._intermediate: dict[tuple[Need, int | None], Any] = {}

    def recorded(self, recorded: Recorded) -> Tensor:
        """A recorded activation or gradient. Gradients after the start of the backward pass are zero."""
        return dense(self.kept(recorded))

    def kept(self, recorded: Recorded) -> Neurons:
        """As `recorded`; of a mixture of experts' neurons, those of the chosen experts."""
        if recorded in self._recorded or recorded.pass_type is PassType.FORWARD:
            return self._recorded[recorded]
        return self._zeros(recorded.place.shape, recorded.place.autoencoder_node_type, recorded.layer)

    def scalar(self, dst: DerivedScalarType, pass_type: PassType, layer: int | None) -> Neurons:
        """A derived scalar of one layer, (batch, *axes); zeros in layers where it must be zero."""
        key = (dst, pass_type, layer)
        if key not in self._scalars:
            deriver = DERIVERS[dst, pass_type]
            self._scalars[key] = (
                deriver.compute(self, layer)
                if deriver.applies(self.bound, layer)
                else self._zeros(dst.shape_spec_per_token_sequence, dst.autoencoder_node_type, layer)
            )
        return self._scalars[key]

    def once(self, need: Need, layer: int | None, compute: Callable[[], Any]) -> Any:
        """An intermediate result of one layer, or (None) of the whole pass, computed when it is first needed."""
        key = (need, layer)
        if key not in self._intermediate:
            self._intermediate[key] = compute()
        return self._intermediate[key]

    def forget_layer(self, layer: int) -> None:
        """Release the results of a layer after its last use."""
        self._scalars = {key: value for key, value in self._scalars.items() if key[2] != layer}
        self._intermediate = {key: value for key, value in self._intermediate.items() if key[1] != layer}

    def _zeros(self, dimensions: tuple[Dimension, ...], latents: NodeType | None, layer: int | None) -> Neurons:
        sizes = [self._size_of(dimension, latents, layer) for dimension in dimensions]
        model = self.bound.model
        if layer is not None and model.config.n_experts and Dimension.MLP_ACTS in dimensions:
            shape, n_before = (self.n_prompts, *sizes), 1 + dimensions.index(Dimension.MLP_ACTS)
            return RoutedTensor.zeros(shape, n_before, model.config.n_experts, model.embedding)
        return torch.zeros(self.n_prompts, *sizes, dtype=model.dtype, device=model.device)

    def _size_of(self, dimension: Dimension, latents: NodeType | None, layer: int | None) -> int:
        if dimension is Dimension.SEQUENCE_TOKEN_PAIRS:
            return self.n_tokens * (self.n_tokens + 1) // 2
        if dimension.is_sequence_token_dimension:
            return self.n_tokens
        if dimension is Dimension.AUTOENCODER_LATENTS and latents is not None:
            return self.bound.autoencoder(latents, layer).n_latents
        return cast("int", self.bound.model.config.size_of(dimension))
