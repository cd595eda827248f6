"""What may mislead about a question. Nothing is changed in silence; the hints say what a person may have meant."""

from collections.abc import Iterator, Sequence

from neuron_explainer.activations.derived_scalars.engine.prompts import Prompt, token_strings_of
from neuron_explainer.attribution.question.answers import Answer
from neuron_explainer.errors import shown
from neuron_explainer.models.chats.chat_text import ChatText
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.wording import without_steering


def hints_about(
    model: ModelContext,
    given: object,
    prompt: Prompt,
    answers: Sequence[Answer],
    positions: Sequence[int] | None = None,
) -> tuple[str, ...]:
    """The hints, in words: an end in a space, an answer without its leading space, an answer of several tokens.

    `positions` are those that are asked about, None for all.
    """
    asked = prompt.token_strings if positions is None else [prompt.token_strings[each] for each in positions]
    return tuple(_hints(model, given, asked, answers))


def _hints(model: ModelContext, given: object, asked: Sequence[str], answers: Sequence[Answer]) -> Iterator[str]:
    is_text = isinstance(given, str) and not isinstance(given, ChatText)
    ends_in_space = is_text and asked[-1].endswith(" ")
    if ends_in_space:
        yield (
            "The prompt ends in a space. In most texts the space belongs to the token of the next word: leave it out "
            'of the prompt and put it before the answer, as " Mary".'
        )
    targets, distractors = (
        {each.token_ids: each for each in answers if each.is_target is side} for side in (True, False)
    )
    for token_ids in (each for each in targets if each in distractors):
        yield f"{shown(targets[token_ids].text)} is target and distractor at once. The two cancel out."
    for answer in answers:
        if is_text and not ends_in_space and (spaced := _with_space(model, answer)) is not None:
            yield (
                f"{shown(answer.text)} has no leading space. After {shown(asked[-1])} a new word is "
                f"the token {shown(spaced)}."
            )
        if not answer.is_one_token:
            pieces = " + ".join(shown(without_steering(each)) for each in token_strings_of(model, answer.token_ids))
            yield (
                f"{shown(answer.text)} is {len(answer.token_ids)} tokens ({pieces}). It is asked about as one answer: "
                "its log-probability, each token given those before it."
            )


def _with_space(model: ModelContext, answer: Answer) -> str | None:
    """The answer with a leading space, if that is one token of the model and the answer is a word without it."""
    text = answer.text
    if not text or not text[0].isalnum():
        return None
    spaced = f" {text}"
    token_ids = model.encode(spaced, add_special_tokens=False)
    if len(token_ids) != 1 or tuple(token_ids) == answer.token_ids:
        return None
    return spaced if token_strings_of(model, token_ids)[0] == spaced else None
