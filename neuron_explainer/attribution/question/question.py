"""A question about one prompt, read and checked: which passes it takes, and what is read from each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine.prompts import Prompt, read_prompt, token_strings_of
from neuron_explainer.activations.derived_scalars.loss import LossFnConfig
from neuron_explainer.attribution.computing.logit_objective import LogitObjective, LogitReading
from neuron_explainer.attribution.inquiry import AskedPass, Inquiry
from neuron_explainer.attribution.question.answers import Answer, Given, read_answers
from neuron_explainer.attribution.question.hints import hints_about
from neuron_explainer.attribution.question.metrics import (
    METRICS_OF_TARGETS,
    Metric,
    first_against_second,
    log_probability_of,
    metric_of_tokens,
)
from neuron_explainer.attribution.question.positions import PositionsGiven, read_positions
from neuron_explainer.errors import InvalidRequestError, MisconfiguredError, PromptError, shown
from neuron_explainer.models.chats.messages import Chat, is_chat
from neuron_explainer.models.layers.token_checks import as_token_ids, only_prompt
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.named_members import member_of

if TYPE_CHECKING:
    from neuron_explainer.attribution.computing.effects import Effects

MetricGiven = Metric | str | LossFnConfig | Callable[[Tensor], Tensor] | None
PromptGiven = str | Chat | Sequence[int] | Tensor


@dataclass(frozen=True)
class Question(Inquiry):
    """What is asked about one prompt's logits.

    Attributes:
        prompt: its tokens.
        given_prompt: the prompt as it was given.
        answers: targets, then distractors; empty of a function, and of the model's own choice until it is known.
        metric: a named metric, or a function of the logits.
        positions: where the metric is taken; None for all tokens, of a function.
        passes: the passes that it takes. That of an answer of several tokens ends with the answer, but for its last
            token.
        readings: what is read from each pass's logits.
        is_linear: whether the metric is linear in the logits.
        hints: what may mislead about it, in words.
    """

    prompt: Prompt
    given_prompt: Any
    answers: tuple[Answer, ...]
    metric: Metric | Callable[[Tensor], Tensor]
    positions: tuple[int, ...] | None
    passes: tuple[AskedPass, ...]
    readings: tuple[LogitReading, ...]
    is_linear: bool
    hints: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[Answer, ...]:
        """The answers that are asked for."""
        return tuple(answer for answer in self.answers if answer.is_target)

    @property
    def distractors(self) -> tuple[Answer, ...]:
        """The answers that these are compared with."""
        return tuple(answer for answer in self.answers if not answer.is_target)

    @classmethod
    def joint_objective(cls, model: Transformer, passes: Sequence[tuple[Question, int]]) -> LogitObjective:
        """The metric of each pass."""
        return LogitObjective(model, [question.readings[number] for question, number in passes])

    def settled(self, model: ModelContext, effects: Sequence[Effects]) -> Question:
        """The question with the tokens that the model chose; asked again, it is about the same ones."""
        logits = effects[0].logits
        if self.readings[0].is_of_fixed_tokens or logits is None:
            return self
        first, *others = logits[-1].topk(min(2, logits.shape[-1])).indices.tolist()
        target, distractor = (
            Answer(token_strings_of(model, [token])[0], (token,), is_target, is_text=False)
            for token, is_target in ((first, True), (others[0] if others else first, False))
        )
        reading = LogitReading(metric_of_tokens(Metric.LOGIT_DIFF, [first], distractor.token_ids), self.positions, True)
        return replace(self, answers=(target, distractor), readings=(reading,))

    @property
    def metric_name(self) -> str:
        """The metric's name; of a function, the function's."""
        return self.metric.value if isinstance(self.metric, Metric) else getattr(self.metric, "__name__", "a function")

    @property
    def request(self) -> dict[str, Any]:
        """What was asked, as JSON values."""
        return {
            "prompt": as_json(self.given_prompt),
            "target": [answer.as_json() for answer in self.targets],
            "distractor": [answer.as_json() for answer in self.distractors],
            "metric": self.metric_name,
            "positions": None if self.positions is None else list(self.positions),
        }

    @property
    def title(self) -> str:
        """What the metric is, in words."""
        targets, distractors = (_alternatives(each) for each in (self.targets, self.distractors))
        if not self.answers:
            if isinstance(self.metric, Metric) or not callable(self.metric):
                return _OWN_CHOICE
            return "a function of the logits" if self.metric_name == "<lambda>" else self.metric_name
        match self.metric:
            case Metric.LOGIT_MINUS_MEAN:
                return f"logit of {targets} minus the mean logit"
            case Metric.PROBS:
                return f"probability of {targets}"
            case Metric.LOG_PROBABILITY:
                of_what = "log-probability"
            case _:
                of_what = "logit"
        return f"{of_what} of {targets}" + (f" minus that of {distractors}" if distractors else "")


def _alternatives(answers: Sequence[Answer]) -> str:
    """Alternatives in words; of many, the first two and how many more there are."""
    n_shown = len(answers) if len(answers) <= _MOST_IN_WORDS else 2
    texts = [shown(answer.text) for answer in answers[:n_shown]]
    return " or ".join([*texts, *([f"{len(answers) - n_shown:,} more"] if n_shown < len(answers) else [])])


_MOST_IN_WORDS = 4
_OWN_CHOICE = "logit of the likeliest token minus that of the second"


def as_json(prompt: Any) -> Any:
    """A prompt as JSON values: a text, messages, or token ids."""
    if isinstance(prompt, str):
        return str(prompt)
    if is_chat(prompt):
        return [dict(message) for message in prompt]
    return as_token_ids(only_prompt(prompt, "give one prompt"), "token ids")


def read_question(
    model: ModelContext,
    prompt: PromptGiven,
    target: Given = None,
    distractor: Given = None,
    metric: MetricGiven = None,
    positions: PositionsGiven = None,
    prepend_bos: bool | None = None,
) -> Question:
    """A question as `attribute` takes it, read and checked.

    Raises:
        PromptError, ChatTemplateError, InvalidRequestError, MisconfiguredError: as `attribute` says.
    """
    read = read_prompt(model, prompt, prepend_bos)
    targets, distractors = read_answers(model, target, True), read_answers(model, distractor, False)
    return question_of(model, prompt, read, targets, distractors, metric, positions)


def question_of(
    model: ModelContext,
    prompt: PromptGiven,
    read: Prompt,
    targets: tuple[Answer, ...],
    distractors: tuple[Answer, ...],
    metric: MetricGiven = None,
    positions: PositionsGiven = None,
) -> Question:
    """A question whose prompt and answers have been read.

    Args:
        model: the model.
        prompt: the prompt as it was given.
        read: its tokens.
        targets, distractors: the answers.
        metric, positions: as `attribute` takes them.

    Raises:
        PromptError, InvalidRequestError, MisconfiguredError, UnknownNameError: as `attribute` says.
    """
    if isinstance(metric, LossFnConfig):
        if targets or distractors:
            raise MisconfiguredError("The metric is a LossFnConfig, which has its own tokens. Leave the others out.")
        targets = read_answers(model, metric.target_tokens or None, True)
        distractors = read_answers(model, metric.distractor_tokens or None, False)
        metric = metric.name.value
    answers = targets + distractors
    if callable(metric) and not isinstance(metric, Metric):
        if answers:
            raise MisconfiguredError("The metric is a function of the logits. Leave target and distractor out.")
        places = None if positions is None else read_positions(positions, read.token_strings)
        reading = LogitReading(metric, places, is_linear=False)
        hints = hints_about(model, prompt, read, (), places)
        return _in_one_pass(read, prompt, (), metric, reading, hints)
    places = read_positions(positions, read.token_strings)
    hints = hints_about(model, prompt, read, answers, places)
    named = _metric_of(metric, targets, distractors)
    if not answers:
        if len(places) != 1:
            raise InvalidRequestError(
                f"Without a target the model's own choice at one position is asked about, but {len(places)} positions "
                "are given. Give one position, or a target."
            )
        reading = LogitReading(first_against_second, places, is_linear=True, is_of_fixed_tokens=False)
        return _in_one_pass(read, prompt, (), named, reading, hints)
    if all(answer.is_one_token for answer in answers):
        ids = ([answer.token_ids[0] for answer in each] for each in (targets, distractors))
        reading = LogitReading(metric_of_tokens(named, *ids), places, named.is_linear)
        return _in_one_pass(read, prompt, answers, named, reading, hints)
    if named is not Metric.LOG_PROBABILITY or len(places) != 1:
        raise InvalidRequestError(
            f"{_several(answers)} is several tokens, so the answers are compared by log_probability at one position, "
            f"not by {named.value} at {len(places)}. Leave metric out, or give single tokens."
        )
    asked, readings = zip(
        *(_pass_of(model, read, places[0], answer, targets, distractors) for answer in answers), strict=True
    )
    return Question(read, prompt, answers, named, places, asked, readings, False, hints)


def _in_one_pass(
    prompt: Prompt,
    given: Any,
    answers: tuple[Answer, ...],
    metric: Metric | Callable[[Tensor], Tensor],
    reading: LogitReading,
    hints: tuple[str, ...],
) -> Question:
    return Question(
        prompt, given, answers, metric, reading.positions, (AskedPass(prompt),), (reading,), reading.is_linear, hints
    )


def _metric_of(metric: Metric | str | None, targets: Sequence[Answer], distractors: Sequence[Answer]) -> Metric:
    """The named metric; without one, the default for these answers."""
    if metric is not None:
        named = member_of(Metric, metric, "metric")
        if not targets:
            raise MisconfiguredError(f"The metric {named.value} needs a target.")
        if distractors and named in METRICS_OF_TARGETS:
            raise MisconfiguredError(
                f"{named.value} takes no distractor. Choose one of: {Metric.LOGIT_DIFF.value}, "
                f"{Metric.LOG_PROBABILITY.value}; or leave the distractor out."
            )
        return named
    if distractors and not targets:
        raise MisconfiguredError("A distractor is given without a target. Give the target too.")
    if not all(answer.is_one_token for answer in (*targets, *distractors)):
        return Metric.LOG_PROBABILITY
    return Metric.LOGIT_DIFF if distractors or not targets else Metric.LOGIT_MINUS_MEAN


def _pass_of(
    model: ModelContext,
    prompt: Prompt,
    position: int,
    answer: Answer,
    targets: Sequence[Answer],
    distractors: Sequence[Answer],
) -> tuple[AskedPass, LogitReading]:
    """The pass of one answer: the prompt up to the position, then the answer's tokens but for the last one."""
    token_ids = [*prompt.token_ids[: position + 1], *answer.token_ids[:-1]]
    if len(token_ids) > model.max_context_length:
        raise PromptError(
            f"The prompt with the answer {shown(answer.text)} has {len(token_ids)} tokens; {model.model_name} reads at "
            f"most {model.max_context_length}."
        )
    places = tuple(range(position, position + len(answer.token_ids)))
    reading = LogitReading(log_probability_of(answer.token_ids), places, is_linear=False)
    with_answer = Prompt(token_ids, token_strings_of(model, token_ids), prompt.n_beginning)
    coefficient = 1 / len(targets) if answer.is_target else -1 / len(distractors)
    return AskedPass(with_answer, coefficient, answer.text), reading


def _several(answers: Sequence[Answer]) -> str:
    return shown(next(answer.text for answer in answers if not answer.is_one_token))
