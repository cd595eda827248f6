"""A question as a person types it: read field by field, without a pass; mistakes stand beside what can be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from neuron_explainer.activations.derived_scalars.config import ConfigOrModel, as_config
from neuron_explainer.activations.derived_scalars.engine.prompts import Prompt, read_prompt, token_strings_of
from neuron_explainer.attribution.question.answers import Answer, Given, read_answers
from neuron_explainer.attribution.question.hints import hints_about
from neuron_explainer.attribution.question.positions import PositionsGiven
from neuron_explainer.attribution.question.question import MetricGiven, PromptGiven, Question, question_of
from neuron_explainer.errors import NeuronExplainerError

T = TypeVar("T")


@dataclass(frozen=True)
class QuestionPreview:
    """What `ne.attribute` would be asked, as far as it can be read.

    Attributes:
        prompt: its tokens; None where it cannot be read.
        targets, distractors: the answers; empty where there are none, or they cannot be read.
        hints: what may be a mistake, in words.
        title: what the number would be, in words; empty where the question cannot be asked.
        errors: what is wrong, by field: "prompt", "target", "distractor"; or "question", of fields that are right alone
            and do not go together, and of the metric and the positions.
    """

    prompt: Prompt | None
    targets: tuple[Answer, ...]
    distractors: tuple[Answer, ...]
    hints: tuple[str, ...]
    title: str
    errors: Mapping[str, NeuronExplainerError]
    _texts: Mapping[tuple[int, ...], tuple[str, ...]] = field(repr=False)

    def answer_tokens(self, answer: Answer) -> list[str]:
        """The texts of the tokens of a target or distractor of this question."""
        return list(self._texts[answer.token_ids])


def preview_question(
    model: ConfigOrModel,
    prompt: PromptGiven,
    target: Given = None,
    distractor: Given = None,
    *,
    metric: MetricGiven = None,
    positions: PositionsGiven = None,
    prepend_bos: bool | None = None,
) -> QuestionPreview:
    """What a question would be, while a person still types it: its tokens, hints and mistakes. No pass is run.

    Arguments are those of `ne.attribute`. What is wrong with them is in the preview's `errors`, and is not raised; the
    other fields are read all the same.

    Raises:
        MisconfiguredError: `model` is not a model.

    >>> import neuron_explainer as ne
    >>> preview = ne.preview_question(ne.load_model("tiny"), "And the LORD said unto", " Moses", " Moses and Aaron")
    >>> preview.prompt.token_strings
    ['A', 'nd', ' the', ' LORD', ' said', ' unto']
    >>> preview.answer_tokens(preview.distractors[0]), preview.errors
    ([' Moses', ' and', ' A', 'ar', 'on'], {})
    """
    context = as_config(model, "model").get_model_context()
    errors: dict[str, NeuronExplainerError] = {}

    def attempt(name: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except NeuronExplainerError as error:
            errors[name] = error
            return None

    read = attempt("prompt", lambda: read_prompt(context, prompt, prepend_bos, warns=False))
    targets = attempt("target", lambda: read_answers(context, target, True)) or ()
    distractors = attempt("distractor", lambda: read_answers(context, distractor, False)) or ()
    question: Question | None = None
    if read is not None and not errors:
        own = read
        question = attempt(
            "question", lambda: question_of(context, prompt, own, targets, distractors, metric, positions)
        )
    if question is not None:  # a LossFnConfig has tokens of its own
        targets, distractors = question.targets, question.distractors
    hints: tuple[str, ...] = ()
    if question is not None:
        hints = question.hints
    elif read is not None:
        hints = hints_about(context, prompt, read, targets + distractors)
    texts = {each.token_ids: tuple(token_strings_of(context, each.token_ids)) for each in targets + distractors}
    return QuestionPreview(
        read,
        targets,
        distractors,
        hints,
        title="" if question is None else question.title,
        errors=errors,
        _texts=texts,
    )
