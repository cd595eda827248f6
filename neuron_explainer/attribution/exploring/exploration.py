"""What is asked on a page of answers, as a value: the question, what is overwritten, what is traced."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any

from neuron_explainer.attribution.exploring import exploration_fields as checked
from neuron_explainer.attribution.exploring.exploration_fields import AnswerAsked, PromptAsked
from neuron_explainer.errors import IndexOutOfRangeError, InvalidRequestError, UnknownArgumentError, shown


@dataclass(frozen=True)
class Change:
    """A node that is overwritten.

    Attributes:
        node: its name.
        value: a number; "mean", over the embedded sample; or "other", its activation in the other prompt.
        is_on: False: it stays in the list, and nothing is overwritten.

    Raises:
        InvalidRequestError: one of them is something else.
    """

    node: str
    value: float | str = 0.0
    is_on: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "node", checked.node("node", self.node))
        object.__setattr__(self, "value", checked.value("value", self.value))
        object.__setattr__(self, "is_on", checked.flag("is_on", self.is_on))


@dataclass(frozen=True)
class TraceStep:
    """A node that is traced.

    Attributes:
        node: its name.
        through, downstream: as `Attribution.trace` takes them, the downstream node by its name.

    Raises:
        InvalidRequestError: one of them is something else.
    """

    node: str
    through: str | None = None
    downstream: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "node", checked.node("node", self.node))
        for name in ("through", "downstream"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, checked.node(name, getattr(self, name)))


@dataclass(frozen=True)
class Exploration:
    """What is asked: a question about a prompt, the nodes that are overwritten, and then the nodes that are traced.

    It can be compared, hashed, and written as JSON. Whether a model can answer it is not checked here.

    Attributes:
        prompt: a text, messages, or token ids.
        target, distractor: alternatives, each a text or token ids; none: the model's own choice, or no distractor.
        other_prompt: the prompt whose activations a change can take, and with which the answer can be compared.
        changes: what is overwritten, each on top of those before it.
        traces: what is traced, one after the other, with the changes in place.
        is_compared: whether the same is asked about the other prompt, too.
        metric, positions, prepend_bos: as `ne.attribute` takes them.

    Raises:
        InvalidRequestError: a field holds something else; the error names it.

    >>> asked = Exploration("And the LORD said unto", (" Moses",), (" her",)).with_change("L3H0")
    >>> Exploration.from_json(asked.to_json()) == asked
    True
    """

    prompt: PromptAsked
    target: tuple[AnswerAsked, ...] = ()
    distractor: tuple[AnswerAsked, ...] = ()
    other_prompt: PromptAsked | None = None
    changes: tuple[Change, ...] = ()
    traces: tuple[TraceStep, ...] = ()
    is_compared: bool = False
    metric: str | None = None
    positions: tuple[int, ...] | None = None
    prepend_bos: bool | None = None

    def __post_init__(self) -> None:
        for name, check in checked.CHECKS.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))
        for name, kind in _KINDS_OF_STEPS.items():
            object.__setattr__(self, name, checked.several(name, getattr(self, name), kind))

    def __hash__(self) -> int:
        return hash(self._as_text)

    @cached_property
    def _as_text(self) -> str:
        return json.dumps(self.to_json(), sort_keys=True)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values, which share nothing with this object."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        steps = {name: [asdict(step) for step in own[name]] for name in _KINDS_OF_STEPS}
        plain: dict[str, Any] = json.loads(json.dumps(own | steps))
        return plain

    @classmethod
    def from_json(cls, mapping: Mapping[str, Any]) -> Exploration:
        """What `to_json` gave, or a file or a person wrote; fields may be missing, but for the prompt.

        Raises:
            InvalidRequestError: a field holds something else, or its name is unknown; the error names it.
        """
        given = _arguments(cls, mapping, "the state")
        for name, kind in _KINDS_OF_STEPS.items():
            if name in given:
                listed = checked.listed(name, given[name])
                given[name] = tuple(_step(kind, each, f"{name}[{number}]") for number, each in enumerate(listed))
        if "prompt" not in given:
            raise InvalidRequestError("The state has no prompt. Give one: {'prompt': 'Once upon a time'}.")
        return cls(**given)

    @property
    def question(self) -> Exploration:
        """The same without changes and traces."""
        return replace(self, changes=(), traces=())

    @property
    def active_changes(self) -> tuple[Change, ...]:
        """The changes that are on."""
        return tuple(change for change in self.changes if change.is_on)

    # Steps

    def asked(
        self,
        prompt: PromptAsked,
        target: tuple[AnswerAsked, ...] = (),
        distractor: tuple[AnswerAsked, ...] = (),
        other_prompt: PromptAsked | None = None,
    ) -> Exploration:
        """Another question, without changes and traces; positions are kept for the same prompt alone."""
        new = Exploration(prompt, target, distractor, other_prompt)
        return replace(
            new,
            is_compared=self.is_compared and other_prompt is not None,
            metric=self.metric,
            positions=self.positions if new.prompt == self.prompt else None,
            prepend_bos=self.prepend_bos if isinstance(new.prompt, str) else None,
        )

    def swapped(self) -> Exploration:
        """Target and distractor in each other's place."""
        return replace(self, target=self.distractor, distractor=self.target)

    def compared(self, is_compared: bool = True) -> Exploration:
        """With the other prompt beside this one, or without it."""
        return replace(self, is_compared=is_compared)

    def with_change(self, node: str, value: float | str = 0.0) -> Exploration:
        """One more change, the last one. A change of the same node, which it would overwrite, is left out."""
        change = Change(node, value)
        return replace(self, changes=(*(each for each in self.changes if each.node != change.node), change))

    def without_change(self, number: int) -> Exploration:
        """Without a change, by its number from 0.

        Raises:
            IndexOutOfRangeError: the number is not that of a change.
        """
        self._change(number)
        return replace(self, changes=self.changes[:number] + self.changes[number + 1 :])

    def switched(self, number: int) -> Exploration:
        """With a change, by its number from 0, on if it was off, and off if it was on; errors as `without_change`."""
        change = self._change(number)
        turned = replace(change, is_on=not change.is_on)
        return replace(self, changes=(*self.changes[:number], turned, *self.changes[number + 1 :]))

    def traced(self, node: str, through: str | None = None, downstream: str | None = None) -> Exploration:
        """One more trace, upstream of the last one."""
        return replace(self, traces=(*self.traces, TraceStep(node, through, downstream)))

    def without_last_trace(self) -> Exploration:
        """Without the last trace, if there is one."""
        return replace(self, traces=self.traces[:-1])

    def _change(self, number: int) -> Change:
        if not 0 <= number < len(self.changes):
            raise IndexOutOfRangeError(
                f"There is no change {number}. "
                + (f"Choose 0 to {len(self.changes) - 1}." if self.changes else "Nothing is overwritten.")
            )
        return self.changes[number]


_KINDS_OF_STEPS: dict[str, type[Change] | type[TraceStep]] = {"changes": Change, "traces": TraceStep}


def _arguments(kind: type, mapping: object, what: str) -> dict[str, Any]:
    """The entries of a mapping as arguments of a class, each of which has a field."""
    if not isinstance(mapping, Mapping):
        raise InvalidRequestError(f"{what} is {shown(mapping)}. Give a mapping with the fields of {kind.__name__}.")
    known = [each.name for each in fields(kind)]
    for name in mapping:
        if name not in known:
            raise UnknownArgumentError(kind.__name__, name if isinstance(name, str) else shown(name), known)
    return dict(mapping)


def _step(kind: type[Change] | type[TraceStep], mapping: object, what: str) -> Change | TraceStep:
    given = _arguments(kind, mapping, what)
    if "node" not in given:
        raise InvalidRequestError(f"{what} has no node. Name one, such as 'L23H3'.")
    try:
        return kind(**given)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{what}: {error}") from None
