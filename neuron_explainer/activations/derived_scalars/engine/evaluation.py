"""Derived scalars computed from what a pass has left behind, each intermediate result once."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig, autoencoder_kind
from neuron_explainer.activations.derived_scalars.engine.scalar_deriver import DERIVERS, Need, Recorded
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import PassType


class Evaluation:
    """The tensors of one pass, and what has been computed from them so far.

    Attributes:
        bound: the request they are computed for.
        lengths: how many real tokens each prompt has, on the model's device.
        n_prompts, n_tokens: the batch's sizes, padding included.
        trace_gradient: the gradient of the traced activation with respect to the residual stream just before it, where
            the pass has it already.
    """

    def __init__(
        self,
        bound: BoundConfig,
        recorded: Mapping[Recorded, Tensor],
        lengths: Int[Tensor, " batch"],
        n_tokens: int,
        trace_gradient: Float[Tensor, "batch tokens d_model"] | None = None,
    ) -> None:
        self.bound = bound
        self.lengths = lengths
        self.n_prompts = len(lengths)
        self.n_tokens = n_tokens
        self.trace_gradient = trace_gradient
        self._recorded = recorded
        self._scalars: dict[tuple[DerivedScalarType, PassType, int | None], Tensor] = {}
        self._intermediate: dict[tuple[Need, int | None], Any] = {}

    def recorded(self, recorded: Recorded) -> Tensor:
        """A recorded activation or gradient; a gradient where the scalar differentiated does not reach is zero."""
        if recorded in self._recorded or recorded.pass_type is PassType.FORWARD:
            return self._recorded[recorded]
        return self._zeros(recorded.place.shape)

    def scalar(self, dst: DerivedScalarType, pass_type: PassType, layer: int | None) -> Tensor:
        """A derived scalar of one layer, (batch, *axes); zeros where it can be nothing else."""
        key = (dst, pass_type, layer)
        if key not in self._scalars:
            deriver = DERIVERS[dst, pass_type]
            applies = deriver.applies(self.bound, layer)
            self._scalars[key] = (
                deriver.compute(self, layer) if applies else self._zeros(dst.shape_spec_per_token_sequence, dst, layer)
            )
        return self._scalars[key]

    def once(self, need: Need, layer: int | None, compute: Callable[[], Any]) -> Any:
        """An intermediate result of one layer, or (None) of the whole pass, computed when first asked for."""
        key = (need, layer)
        if key not in self._intermediate:
            self._intermediate[key] = compute()
        return self._intermediate[key]

    def forget_layer(self, layer: int) -> None:
        """Let go of one layer's results, which nothing needs any more."""
        self._scalars = {key: value for key, value in self._scalars.items() if key[2] != layer}
        self._intermediate = {key: value for key, value in self._intermediate.items() if key[1] != layer}

    def _zeros(
        self, dimensions: tuple[Dimension, ...], dst: DerivedScalarType | None = None, layer: int | None = None
    ) -> Tensor:
        sizes = []
        for dimension in dimensions:
            if dimension is Dimension.SEQUENCE_TOKEN_PAIRS:
                size: int | None = self.n_tokens * (self.n_tokens + 1) // 2
            elif dimension.is_sequence_token_dimension:
                size = self.n_tokens
            elif dimension is Dimension.AUTOENCODER_LATENTS and dst is not None:
                size = self.bound.autoencoder(autoencoder_kind(dst), layer).n_latents
            else:
                size = self.bound.model.config.size_of(dimension)
            sizes.append(cast("int", size))
        model = self.bound.model
        return torch.zeros(self.n_prompts, *sizes, dtype=model.dtype, device=model.device)
