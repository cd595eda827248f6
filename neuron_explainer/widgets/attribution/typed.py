"""What a person typed into the fields of a question, to and from what is asked."""

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any

from neuron_explainer.attribution.exploring.chat_text import chat_of, text_of_chat
from neuron_explainer.attribution.exploring.exploration import Exploration
from neuron_explainer.attribution.exploring.exploration_fields import AnswerAsked, PromptAsked
from neuron_explainer.errors import InvalidRequestError, PromptError, shown
from neuron_explainer.vocabulary.checks import whole_number


class Form(Enum):
    """How a prompt is written."""

    TEXT = "text"
    CHAT = "chat"
    IDS = "token ids"


@dataclass(frozen=True)
class Typed:
    """The texts in the fields.

    Attributes:
        prompt: the prompt; of a chat, a line for each message, or JSON where a message is more than a line can say; of
            token ids, numbers.
        target, distractor: a token with its leading space; several as a JSON list; empty for none.
        other: the second prompt; may be empty.
        form: how the prompts are written.
    """

    prompt: str
    target: str = ""
    distractor: str = ""
    other: str = ""
    form: Form = Form.TEXT

    @classmethod
    def of(cls, asked: Exploration) -> "Typed":
        """What a person would have typed to ask this."""
        return cls(
            _text_of_prompt(asked.prompt),
            _text_of_answers(asked.target),
            _text_of_answers(asked.distractor),
            "" if asked.other_prompt is None else _text_of_prompt(asked.other_prompt),
            _form_of(asked.prompt),
        )

    @property
    def prompts(self) -> tuple[PromptAsked, PromptAsked | None]:
        """The prompt and the second one; None without one.

        Raises:
            InvalidRequestError: a chat's text does not say who speaks, or ids are not numbers.
        """
        return self._read(self.prompt), self._read(self.other) if self.other else None

    @property
    def answers(self) -> tuple[tuple[AnswerAsked, ...], tuple[AnswerAsked, ...]]:
        """The targets and the distractors."""
        return answers_in(self.target), answers_in(self.distractor)

    def _read(self, text: str) -> PromptAsked:
        if self.form is Form.TEXT:
            return text
        if self.form is Form.IDS:
            return _ids_in(text)
        messages = chat_of(text)
        if messages is None:
            messages = _json_list(text)
        if not messages or not all(isinstance(each, dict) for each in messages):
            raise InvalidRequestError('The chat is empty. Write a line for each message, such as "user: Hello".')
        return tuple(messages)


def answers_in(text: str) -> tuple[AnswerAsked, ...]:
    r"""The answers that a field holds.

    >>> answers_in(" Mary"), answers_in('[" Mary", " John"]'), answers_in("")
    ((' Mary',), (' Mary', ' John'), ())
    """
    several = _json_list(text)
    if several and all(map(_is_answer, several)):
        return tuple(tuple(each) if isinstance(each, list) else each for each in several)
    return (text,) if text else ()


def _json_list(text: str) -> list[Any] | None:
    """The entries of a JSON list; None of any other text."""
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None


def _is_answer(value: Any) -> bool:
    """Whether a JSON value is a text, or token ids."""
    return isinstance(value, str) or (
        isinstance(value, list) and bool(value) and all(whole_number(each) is not None for each in value)
    )


def _text_of_answers(answers: tuple[AnswerAsked, ...]) -> str:
    if len(answers) == 1 and isinstance(answers[0], str) and answers_in(answers[0]) == answers:
        return answers[0]
    return json.dumps(list(answers), ensure_ascii=False) if answers else ""


def _form_of(prompt: PromptAsked) -> Form:
    if isinstance(prompt, str):
        return Form.TEXT
    return Form.IDS if all(isinstance(each, int) for each in prompt) else Form.CHAT


def _text_of_prompt(prompt: PromptAsked) -> str:
    match _form_of(prompt):
        case Form.TEXT:
            return str(prompt)
        case Form.IDS:
            return " ".join(map(str, prompt))
        case _:
            try:
                return text_of_chat(prompt)  # type: ignore[arg-type]
            except PromptError:  # another role, or parts, tools and the like
                return json.dumps(prompt, ensure_ascii=False)


def _ids_in(text: str) -> tuple[int, ...]:
    words = text.replace(",", " ").split()
    wrong = next((word for word in words if not (word.isascii() and word.isdigit() and len(word) < 10)), None)
    if wrong is not None or not words:
        raise InvalidRequestError(f"{shown(wrong or text)} is not a token id. Write whole numbers, such as 464 3290.")
    return tuple(map(int, words))
