"""Conversations with a language model: instructions, demonstrations, then the question."""

from __future__ import annotations

from collections.abc import Sequence

from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.explanations.clients.client import Role
from neuron_explainer.explanations.language_models import prompts
from neuron_explainer.explanations.language_models.prompts import Demonstration
from neuron_explainer.explanations.language_models.quoting import quoted, quoted_text
from neuron_explainer.explanations.language_models.showing import MARKED_FROM, Show, ShownExample, numbered

Messages = tuple[tuple[Role, str], ...]


def explaining_messages(
    kind: NodeKind,
    question: Demonstration,
    demonstrations: Sequence[Demonstration],
    show: Show,
    instructions: str | None = None,
) -> Messages:
    """What a language model that writes an explanation is asked.

    Args:
        kind: of the component.
        question: its examples; the explanation in it is not shown.
        demonstrations: questions that are shown with their answers.
        show: how texts are shown.
        instructions: what it is told, instead of the usual.
    """
    told = prompts.EXPLAIN.get(kind, prompts.EXPLAIN[NodeKind.NEURON]) if instructions is None else instructions
    of_tokens = prompts.AS_MARKED if show == "marked" else prompts.AS_LISTED
    how = prompts.AS_PAIRS if kind is NodeKind.HEAD else of_tokens
    turns: list[tuple[Role, str]] = [("system", system_message(told, how, prompts.ANSWER_EXPLANATION))]
    for each in demonstrations:
        answer = f'{{"explanation": {quoted_text(each.explanation)}}}'
        turns += [("user", _question(each, show)), ("assistant", answer)]
    return (*turns, ("user", _question(question, show)))


def system_message(*parts: str) -> str:
    """The first message: instructions, how texts are shown, that they are data, the form of the answer."""
    *told, form = parts
    return "\n\n".join([*told, prompts.AS_DATA, form])


def _question(question: Demonstration, show: Show) -> str:
    parts = [prompts.ACTIVE_HEADING, numbered([example.in_words(show) for example in question.examples])]
    if question.near_misses:
        parts += [prompts.NEAR_MISS_HEADING, numbered([_near_miss(example, show) for example in question.near_misses])]
    if question.outputs:
        parts += [prompts.OUTPUTS_HEADING, ", ".join(quoted([token]) for token in question.outputs)]
    return "\n".join(parts)


def _near_miss(example: ShownExample, show: Show) -> str:
    weak_pairs = not example.pairs or max(level for *_, level in example.pairs) < MARKED_FROM
    return quoted(example.tokens) if weak_pairs and (show == "marked" or example.pairs) else example.in_words(show)
