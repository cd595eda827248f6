"""One derived scalar = what it needs + one pure function of that; and the table of all of them.

    @derives(DerivedScalarType.MLP_WRITE_NORM, post_act=Activation(MLP_POST_ACT), norms=neuron_write_norms)
    def mlp_write_norm(post_act, norms):
        return post_act * norms

A *need* is an activation, a gradient, another derived scalar, an intermediate result that several scalars share
(`@shared`), or something given by the model or the request (a weight, a layer's block, an autoencoder). Each need says
which recordings it takes, so that the needs' closure is what a pass has to record; and gives its value when the pass
has run. All tensors have the batch as their first axis.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.nodes import PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

if TYPE_CHECKING:
    from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
    from neuron_explainer.activations.derived_scalars.engine.evaluation import Evaluation

Where = Callable[["BoundConfig", int | None], bool]
"""Whether a scalar can be other than zero in a layer."""


@dataclass(frozen=True)
class Recorded:
    """A tensor that a pass leaves behind: an activation, or (BACKWARD) the gradient with respect to it."""

    place: ActivationLocationType
    layer: int | None
    pass_type: PassType = PassType.FORWARD


class Need(ABC):
    """What a function's argument is, for any layer."""

    @abstractmethod
    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """What has to be recorded for it."""

    @abstractmethod
    def value(self, evaluation: Evaluation, layer: int | None) -> Any:
        """What it is, now that the pass has run."""


@dataclass(frozen=True)
class Activation(Need):
    """The activation, or its gradient, at a place of the same layer, or at one without layers."""

    place: ActivationLocationType
    pass_type: PassType = PassType.FORWARD

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """Itself."""
        yield Recorded(self.place, None if self.place.has_no_layers else layer, self.pass_type)

    def value(self, evaluation: Evaluation, layer: int | None) -> Tensor:
        """The tensor, (batch, *place.shape)."""
        (recorded,) = self.recordings(evaluation.bound, layer)
        return evaluation.recorded(recorded)


def gradient(place: ActivationLocationType) -> Activation:
    """The gradient with respect to the activation at a place of the same layer, or at one without layers."""
    return Activation(place, PassType.BACKWARD)


@dataclass(frozen=True)
class Scalar(Need):
    """Another derived scalar, of the same layer."""

    dst: DerivedScalarType
    pass_type: PassType = PassType.FORWARD

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """What that scalar needs."""
        return DERIVERS[self.dst, self.pass_type].recordings(bound, layer)

    def value(self, evaluation: Evaluation, layer: int | None) -> Tensor:
        """Its value, computed once."""
        return evaluation.scalar(self.dst, self.pass_type, layer)


@dataclass(frozen=True)
class Given(Need):
    """What the model or the request has, without any pass: a weight, a layer's block, the traced node, …"""

    give: Callable[[BoundConfig, int | None], Any]

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """None."""
        return iter(())

    def value(self, evaluation: Evaluation, layer: int | None) -> Any:
        """What the request gives for the layer."""
        return self.give(evaluation.bound, layer)


@dataclass(frozen=True, eq=False)
class Deriver:
    """A pure function and what its arguments are.

    Attributes:
        function: gives the values, with the batch as their first axis.
        needs: for each argument, what it is.
        where: in which layers the values can be other than zero; the function is not called for the others.
    """

    function: Callable[..., Any]
    needs: Mapping[str, Need]
    where: Where | None = None

    def applies(self, bound: BoundConfig, layer: int | None) -> bool:
        """Whether the values can be other than zero in a layer."""
        return self.where is None or self.where(bound, layer)

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """What has to be recorded for a layer."""
        if self.applies(bound, layer):
            for need in self.needs.values():
                yield from need.recordings(bound, layer)

    def compute(self, evaluation: Evaluation, layer: int | None) -> Any:
        """The function's result for a layer."""
        return self.function(**{name: need.value(evaluation, layer) for name, need in self.needs.items()})


@dataclass(frozen=True, eq=False)
class Shared(Need):
    """An intermediate result that several scalars need; computed once for each layer, or once if `once`."""

    deriver: Deriver
    once: bool = False

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """What its function needs."""
        return self.deriver.recordings(bound, None if self.once else layer)

    def value(self, evaluation: Evaluation, layer: int | None) -> Any:
        """Its value, computed when first asked for."""
        layer = None if self.once else layer
        return evaluation.once(self, layer, lambda: self.deriver.compute(evaluation, layer))


DERIVERS: dict[tuple[DerivedScalarType, PassType], Deriver] = {}
"""How every derived scalar is computed, and the gradients of those that have one."""


def derives(
    dst: DerivedScalarType, *, pass_type: PassType = PassType.FORWARD, where: Where | None = None, **needs: Need
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Register the decorated function as what computes `dst`, its arguments being `needs`; may be repeated.

    Args:
        dst: the scalar.
        pass_type: BACKWARD for what `derive_gradients` adds.
        where: in which layers it can be other than zero; all if not given.
        needs: for each argument of the function, what it is.
    """

    def register(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        DERIVERS[dst, pass_type] = Deriver(function, needs, where)
        return function

    return register


def shared(*, once: bool = False, **needs: Need) -> Callable[[Callable[..., Any]], Shared]:
    """Make the decorated function an intermediate result that others name as a need."""

    def make(function: Callable[..., Any]) -> Shared:
        return Shared(Deriver(function, needs), once)

    return make
