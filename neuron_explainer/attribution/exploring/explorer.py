"""The answers to what is asked on a page, running only what is not held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex, cast

from neuron_explainer.activations.derived_scalars.config import ConfigOrModel
from neuron_explainer.attribution.attribution import Attribution
from neuron_explainer.attribution.comparison import Comparison
from neuron_explainer.attribution.computing.passes import Setting
from neuron_explainer.attribution.exploring.exploration import Exploration
from neuron_explainer.attribution.exploring.from_answer import where_to_begin
from neuron_explainer.attribution.exploring.held_answers import HeldAnswers
from neuron_explainer.attribution.exploring.steps import (
    Key,
    Stage,
    check_second_prompt,
    first_answer,
    first_key,
    further_steps,
    other_steps,
)
from neuron_explainer.attribution.question.settings import AutoencodersGiven, read_setting
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.models.watching import part_of_work
from neuron_explainer.vocabulary.checks import checked_number

MOST_BYTES = 2 * 2**30


@dataclass(frozen=True, eq=False)
class Explored:
    """What an exploration gives.

    Attributes:
        asked: what was asked.
        why: the answer, with the changes, and of the last trace.
        other: the same about the other prompt, if the two are compared.
        comparison: both side by side.
        values: the question's metric before the first active change, and after each active one.
    """

    asked: Exploration
    why: Attribution
    other: Attribution | None
    comparison: Comparison | None
    values: tuple[float, ...]


class Explorer:
    """A model that answers what is asked on a page. Answers are held; any number of threads may ask.

    Within `watched_passes` it tells how much of all its passes is done, and can be stopped.

    Args:
        model, autoencoders: as `ne.attribute` takes them.
        most_bytes: how much the tensors of the answers that are held may take; the last one is held anyway.

    Attributes:
        setting: the model, its autoencoders, and the ablations that are in place in every answer.
        first: what the answer that `of` was given was asked; None of other explorers.
        functions: metrics that are functions, by the names under which an exploration asks for them.

    Raises:
        MisconfiguredError, InvalidRequestError: as `ne.attribute`.

    >>> import neuron_explainer as ne
    >>> explorer = Explorer(ne.load_model("tiny"))
    >>> asked = Exploration("And the LORD said unto", (" Moses",), (" her",)).with_change("L3H2")
    >>> found = explorer.answer(asked)
    >>> found.values[-1] == found.why.value, explorer.held(asked.question) is not None
    (True, True)
    """

    def __init__(
        self, model: ConfigOrModel, autoencoders: AutoencodersGiven = None, *, most_bytes: SupportsIndex = MOST_BYTES
    ) -> None:
        self.setting: Setting = read_setting(model, autoencoders, None)
        self.first: Exploration | None = None
        self.functions: Mapping[str, Any] = {}
        self._held = HeldAnswers(checked_number("most_bytes", most_bytes, 0))

    @classmethod
    def of(cls, why: Attribution, *, most_bytes: SupportsIndex = MOST_BYTES) -> Explorer:
        """An explorer that begins with an answer, which it holds: `first` is what that was asked.

        Ablations that a change cannot say (tensors, means over texts of one's own) are in place in all its answers.

        Raises:
            MisconfiguredError: the answer was read from a file, without its model.
        """
        beginning = where_to_begin(why)
        explorer = cls(beginning.setting.config, most_bytes=most_bytes)
        explorer.setting = beginning.setting
        explorer.first = beginning.first
        explorer.functions = beginning.functions
        keys = [first_key(beginning.first), *(step.key for step in further_steps(beginning.first))]
        explorer._held.put(keys[-1], why)
        for key, value in zip(keys, beginning.values, strict=False):
            explorer._held.note_value(key, value)
        return explorer

    @property
    def model(self) -> ModelContext:
        """The model."""
        return self.setting.config.get_model_context()

    def held(self, asked: Exploration) -> Explored | None:
        """The answer if no pass is needed for it; else None."""
        try:
            return _Way(self, asked, self._held).explored(may_run=False)
        except _NotHeldError:
            return None

    def answer(self, asked: Exploration) -> Explored:
        """The answer, running only what is not held.

        Raises:
            InvalidRequestError: a change or a comparison needs a second prompt, which is missing.
            StoppedError: within `watched_passes`, the work was stopped. What was answered on the way is held.
            PromptError, ChatTemplateError, MisconfiguredError, NodeNameError, UnknownNameError: as `ne.attribute`, and
                as `ablate`, `trace` and `compare` of its answer.
        """
        check_second_prompt(asked)
        return _Way(self, asked, self._held).explored(may_run=True)


class _NotHeldError(Exception):
    """A pass is needed, and may not be run."""


class _Way:
    """The way to one answer: its steps, which of them are held, and how many must be run."""

    def __init__(self, explorer: Explorer, asked: Exploration, held: HeldAnswers) -> None:
        self._asked = asked
        self._held = held
        self._n_changes = len(asked.active_changes)
        first = Stage(first_key(asked), lambda _: first_answer(asked, explorer.setting, explorer.functions))
        self._own = [first, *further_steps(asked)]
        self._other = other_steps(asked, self._own[self._n_changes].key, self._after_traces)
        self._n_missing = 0
        self._n_run = 0
        self._may_run = True

    def explored(self, may_run: bool) -> Explored:
        """Go the way. Raises _NotHeldError if something must be run and may not."""
        self._may_run, self._n_missing = may_run, len(self._missing())
        values = tuple(map(self._value, range(self._n_changes + 1)))
        why = self._at(self._own, len(self._own) - 1)
        if not self._other:
            return Explored(self._asked, why, None, None, values)
        other = self._at(self._other, len(self._other) - 1)
        return Explored(self._asked, why, other, why.compare(other), values)

    def _missing(self) -> set[Key]:
        """The answers that must be run."""
        own, n_changes = self._own, self._n_changes
        needed = {len(own) - 1}
        needed |= {place for place in range(n_changes + 1) if self._held.value(own[place].key) is None}
        missing: set[Key] = set()
        if self._other:
            start = self._last_held(self._other, len(self._other) - 1)[0]
            missing = {step.key for step in self._other[start + 1 :]}
            needed |= {n_changes + number for number in range(start + 1, len(self._other))}
        for place in needed:
            start = self._last_held(own, place)[0]
            missing |= {step.key for step in own[start + 1 : place + 1]}
        return missing

    def _last_held(self, line: Sequence[Stage], place: int) -> tuple[int, Attribution | None]:
        """The last step up to a place whose answer is held, and its answer; -1 and None if none is."""
        for at in range(place, -1, -1):
            if (why := self._held.get(line[at].key)) is not None:
                return at, why
        return -1, None

    def _value(self, place: int) -> float:
        value = self._held.value(self._own[place].key)
        return self._at(self._own, place).value if value is None else value

    def _after_traces(self, number: int) -> Attribution:
        return self._at(self._own, self._n_changes + number)

    def _at(self, line: Sequence[Stage], place: int) -> Attribution:
        """The answer at a step, made from the last one before it that is held."""
        start, why = self._last_held(line, place)
        if start < place and not self._may_run:
            raise _NotHeldError
        if why is None and line is self._other:
            why = self._after_traces(0)
        for step in line[start + 1 : place + 1]:
            with part_of_work(self._n_run, max(self._n_missing, self._n_run + 1)):
                why = step.make(why)
            self._n_run += 1
            self._held.put(step.key, why)
        return cast("Attribution", why)
