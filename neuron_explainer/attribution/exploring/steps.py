"""The answers on the way to what is asked: the question's, one after each change, one after each trace."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from neuron_explainer.attribution.answering import answer
from neuron_explainer.attribution.attribution import Attribution
from neuron_explainer.attribution.computing.passes import Setting
from neuron_explainer.attribution.exploring.exploration import Change, Exploration, TraceStep
from neuron_explainer.attribution.exploring.exploration_fields import AnswerAsked, PromptAsked
from neuron_explainer.attribution.question.question import read_question
from neuron_explainer.errors import InvalidRequestError

Key = tuple[str, ...]
"""What was asked, step by step."""


@dataclass(frozen=True)
class Stage:
    """One answer on the way.

    Attributes:
        key: what it answers.
        make: makes it from the answer before it; the first of all from None.
    """

    key: Key
    make: Callable[[Any], Attribution]


def first_key(asked: Exploration) -> Key:
    """The key of the question alone."""
    return (_text(asked.prompt, asked.target, asked.distractor, asked.metric, asked.positions, asked.prepend_bos),)


def first_answer(asked: Exploration, setting: Setting, functions: Mapping[str, Any]) -> Attribution:
    """The answer to the question alone; metrics that are functions are given by name."""
    question = read_question(
        setting.config.get_model_context(),
        given_prompt(asked.prompt),
        given_answers(asked.target),
        given_answers(asked.distractor),
        asked.metric if asked.metric is None else functions.get(asked.metric, asked.metric),
        asked.positions,
        asked.prepend_bos,
    )
    return answer(Attribution, setting, question)


def further_steps(asked: Exploration) -> list[Stage]:
    """The steps after the question: the changes that are on, then the traces."""
    steps: list[Stage] = []
    key = first_key(asked)
    for change in asked.active_changes:
        needed = asked.other_prompt if change.value == "other" else None
        key = (*key, _text("change", change.node, change.value, needed))
        steps.append(Stage(key, partial(_changed, change, asked.other_prompt)))
    for trace in asked.traces:
        key = (*key, _trace_text(trace))
        steps.append(Stage(key, partial(_traced, trace)))
    return steps


def other_steps(asked: Exploration, key: Key, why_at: Callable[[int], Attribution]) -> list[Stage]:
    """The steps to the same about the other prompt, at the same nodes; none without one.

    Args:
        asked: what is asked.
        key: that of the answer with all changes, from which the first step is made.
        why_at: gives the own answer after some of the traces.
    """
    if asked.other_prompt is None or not asked.is_compared:
        return []
    key = (*key, _text("other", asked.other_prompt))
    steps = [Stage(key, partial(_about_other, asked.other_prompt))]
    for number, trace in enumerate(asked.traces, start=1):
        key = (*key, _trace_text(trace))
        steps.append(Stage(key, partial(_traced_alike, trace, partial(why_at, number))))
    return steps


def given_prompt(prompt: PromptAsked) -> Any:
    """A prompt as `ne.attribute` takes it."""
    return prompt if isinstance(prompt, str) else list(prompt)


def given_answers(answers: tuple[AnswerAsked, ...]) -> Any:
    """Targets or distractors as `ne.attribute` takes them."""
    several = [each if isinstance(each, str) else list(each) for each in answers]
    return several[0] if len(several) == 1 and isinstance(several[0], str) else several or None


def check_second_prompt(asked: Exploration) -> None:
    """Refuse what needs a second prompt where there is none.

    Raises:
        InvalidRequestError: it is asked for.
    """
    if asked.other_prompt is not None:
        return
    if asked.is_compared:
        raise InvalidRequestError("Nothing can be compared without a second prompt. Give one.")
    for change in asked.active_changes:
        if change.value == "other":
            raise InvalidRequestError(
                f"{change.node} is to have its activation in the other prompt, and there is none. Give a second prompt."
            )


def _changed(change: Change, other_prompt: PromptAsked | None, before: Attribution) -> Attribution:
    value = given_prompt(other_prompt) if change.value == "other" and other_prompt is not None else change.value
    return before.ablate(change.node, value=value)


def _traced(trace: TraceStep, before: Attribution) -> Attribution:
    return before.trace(trace.node, trace.through, downstream=trace.downstream)


def _traced_alike(trace: TraceStep, own: Callable[[], Attribution], before: Attribution) -> Attribution:
    """The trace of the node, and downstream node, at which the own prompt was traced."""
    request = own().inquiry.request
    downstream = None if trace.downstream is None else request["downstream"]
    return before.trace(request["trace"], trace.through, downstream=downstream)


def _about_other(other_prompt: PromptAsked, before: Attribution) -> Attribution:
    return cast("Attribution", before.compare(given_prompt(other_prompt)).second)


def _trace_text(trace: TraceStep) -> str:
    return _text("trace", trace.node, trace.through, trace.downstream)


def _text(*what: Any) -> str:
    return json.dumps(what, sort_keys=True)
