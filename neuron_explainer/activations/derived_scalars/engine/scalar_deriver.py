"""Register a derived scalar: a pure function, and a need for each of its arguments.

    @derives(DerivedScalarType.MLP_WRITE_NORM, post_act=Activation(MLP_POST_ACT), norms=neuron_write_norms)
    def mlp_write_norm(post_act, norms):
        return post_act * norms

The needs here: an activation or gradient, another derived scalar, something that the model or the configuration has (a
weight, a layer's block), and an intermediate result that several scalars share (`@shared`). Needs of one subject, such
as autoencoders, stand beside its derivers. All needs of a request together are what the pass has to record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.evaluation import (
    DERIVERS,
    Deriver,
    Evaluation,
    Need,
    Recorded,
    Where,
)
from neuron_explainer.models.layers.routed import Neurons
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

FunctionT = TypeVar("FunctionT", bound=Callable[..., Neurons])


@dataclass(frozen=True)
class Activation(Need):
    """The activation, or its gradient, at a place of the same layer, or at a place without layers."""

    place: ActivationLocationType
    pass_type: PassType = PassType.FORWARD

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """The tensor itself."""
        yield Recorded(self.place, None if self.place.has_no_layers else layer, self.pass_type)

    def value(self, evaluation: Evaluation, layer: int | None) -> Neurons:
        """The tensor, (batch, *place.shape); of a mixture of experts' neurons, those of the chosen experts."""
        (recorded,) = self.recordings(evaluation.bound, layer)
        return evaluation.kept(recorded)


def gradient(place: ActivationLocationType) -> Activation:
    """The gradient with respect to the activation at a place of the same layer, or at a place without layers."""
    return Activation(place, PassType.BACKWARD)


@dataclass(frozen=True)
class Scalar(Need):
    """Another derived scalar of the same layer."""

    dst: DerivedScalarType
    pass_type: PassType = PassType.FORWARD

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """What that scalar needs."""
        return DERIVERS[self.dst, self.pass_type].recordings(bound, layer)

    def value(self, evaluation: Evaluation, layer: int | None) -> Neurons:
        """Its value, computed once."""
        return evaluation.scalar(self.dst, self.pass_type, layer)


@dataclass(frozen=True)
class Given(Need):
    """Something that the model or the configuration has without a pass: a weight, a layer's block, the node."""

    give: Callable[[BoundConfig, int | None], Any]

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """Nothing."""
        return iter(())

    def value(self, evaluation: Evaluation, layer: int | None) -> Any:
        """What the function gives for the layer."""
        return self.give(evaluation.bound, layer)


@dataclass(frozen=True, eq=False)
class Shared(Need):
    """An intermediate result that several scalars need, computed once for each layer."""

    deriver: Deriver

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """What its function needs."""
        return self.deriver.recordings(bound, layer)

    def value(self, evaluation: Evaluation, layer: int | None) -> Any:
        """Its value, computed when it is first needed."""
        return evaluation.once(self, layer, lambda: self.deriver.compute(evaluation, layer))


def derives(
    dst: DerivedScalarType, *, pass_type: PassType = PassType.FORWARD, where: Where | None = None, **needs: Need
) -> Callable[[FunctionT], FunctionT]:
    """Register the decorated function as the one that computes `dst`. One function may be registered several times.

    Args:
        dst: the scalar.
        pass_type: BACKWARD for what `derive_gradients` adds.
        where: the layers in which it can be non-zero; all if not given.
        needs: for each argument of the function, its need.
    """

    def register(function: FunctionT) -> FunctionT:
        DERIVERS[dst, pass_type] = Deriver(function, needs, where)
        return function

    return register


def derives_for_autoencoders(
    *dsts: DerivedScalarType,
    pass_type: PassType = PassType.FORWARD,
    where: Callable[[NodeType], Where] | None = None,
    **needs: Callable[[NodeType], Need],
) -> Callable[[FunctionT], FunctionT]:
    """Register the decorated function for the same scalar of several autoencoders.

    Args:
        dsts: the scalars; each one's `autoencoder_node_type` says which autoencoders it is about.
        pass_type: as for `derives`.
        where: as for `derives`, made from the kind of latent.
        needs: for each argument of the function, its need, made from the kind of latent.
    """

    def register(function: FunctionT) -> FunctionT:
        for dst in dsts:
            kind = dst.autoencoder_node_type or NodeType.AUTOENCODER_LATENT
            needs_of_kind = {name: need(kind) for name, need in needs.items()}
            derives(dst, pass_type=pass_type, where=where(kind) if where else None, **needs_of_kind)(function)
        return function

    return register


def shared(**needs: Need) -> Callable[[Callable[..., Any]], Shared]:
    """Make the decorated function an intermediate result, which other functions name as a need."""

    def make(function: Callable[..., Any]) -> Shared:
        return Shared(Deriver(function, needs))

    return make
