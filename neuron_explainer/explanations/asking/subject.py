"""What is explained: a component with its record, from whatever a person has at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from neuron_explainer.activations.activation_records import ActivationRecord
from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.explanations.asking.examples import HeldOutExamples, by_token

SubjectGiven = Any
"""A NeuronRecord; or anything with one: a Component, a NeuronViewer."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A component that is explained.

    Attributes:
        record: its examples.
        kind: whether it is a neuron, a head or a latent.
        name: its name, such as L5N131.
        writes: gives the output tokens that it raises most, the strongest first, so many; None without a model.
    """

    record: NeuronRecord
    kind: NodeKind
    name: str
    writes: Callable[[int], list[str]] | None = None

    @cached_property
    def examples(self) -> HeldOutExamples:
        """Its examples in parts, as the record has them: by token, or by token pair."""
        return HeldOutExamples.of(self.record)

    @cached_property
    def by_token(self) -> HeldOutExamples:
        """The same with one activation for each token."""
        parts = (self.examples.train, self.examples.calibration, self.examples.valid, self.examples.test)
        train, calibration, valid, test = (tuple(map(by_token, part)) for part in parts)
        return HeldOutExamples(train, calibration, valid, test, tuple(map(by_token, self.examples.random)))

    @property
    def highest(self) -> float:
        """The highest activation of the examples that explanations are written from: what others are measured by.

        Raises:
            InvalidRequestError: there are no such examples, or none with an activation above 0.
        """
        return highest_of(self.examples.train, self.name)


def highest_of(examples: tuple[ActivationRecord, ...], name: str) -> float:
    """The highest activation of some examples.

    Raises:
        InvalidRequestError: there are none, or none with an activation above 0.
    """
    if not examples:
        raise InvalidRequestError(
            f"{name} has too few top examples to explain it by. Its record needs at least four: one to write from, and "
            "others to score by."
        )
    highest = max((example.max_activation or 0.0 for example in examples), default=0.0)
    if highest <= 0:
        raise InvalidRequestError(
            f"{name} has no examples with an activation above 0 to explain it by. Of its top examples, those to write "
            "from are silent."
        )
    return highest


def subject_of(given: SubjectGiven) -> Subject:
    """What is explained.

    Args:
        given: a NeuronRecord; a component, as `ne.component` gives it; or a NeuronViewer.

    Raises:
        InvalidRequestError: it is none of these.
        NotAtHandError: a component has no dataset, and so no record.
    """
    if isinstance(given, Subject):
        return given
    if isinstance(given, NeuronRecord):
        return _of_record(given)
    component: Any = getattr(given, "component", given)
    if not isinstance(getattr(component, "name", None), NodeName):
        raise InvalidRequestError(
            f"{shown(given)} cannot be explained. Give a NeuronRecord, such as ne.load_neuron(…); a component, such as "
            'ne.component("tiny", "L2N5"); or a NeuronViewer.'
        )
    return Subject(component.record, component.name.kind, str(component.name), _writes_of(component))


def _of_record(record: NeuronRecord) -> Subject:
    kind = NodeKind.HEAD if record.is_by_token_pair else NodeKind.NEURON
    if record.dst is not None and record.dst.node_type.is_autoencoder_latent:
        kind = NodeKind.LATENT
    identity = record.neuron_id
    return Subject(record, kind, str(NodeName(kind, identity.layer_index, identity.neuron_index)))


def _writes_of(component: Any) -> Callable[[int], list[str]] | None:
    """The output tokens of a component that has a model; those of a head depend on what it attends to."""

    def writes(n: int) -> list[str]:
        return [str(token) for token in component.writes(n)["token"][:n]]

    if component.name.kind is NodeKind.HEAD:
        return None
    if not component.at_hand.has_model:
        return None
    return writes
