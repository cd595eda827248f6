"""What a person typed into the fields of a question, to and from what is asked."""

import json
from dataclasses import dataclass

from neuron_explainer.attribution.exploring.chat_text import chat_of, text_of_chat
from neuron_explainer.attribution.exploring.exploration import Exploration, PromptAsked
from neuron_explainer.errors import InvalidRequestError


@dataclass(frozen=True)
class Typed:
    """The texts in the fields.

    Attributes:
        prompt: the prompt; of a chat, a line for each message.
        target, distractor: a token with its leading space; several as a JSON list of texts; nothing.
        other: the second prompt; may be empty.
        is_chat: whether the prompts are chats.
    """

    prompt: str
    target: str = ""
    distractor: str = ""
    other: str = ""
    is_chat: bool = False

    @classmethod
    def of(cls, asked: Exploration) -> "Typed":
        """What a person would have typed to ask this."""
        is_chat = not isinstance(asked.prompt, str)
        return cls(
            _text_of_prompt(asked.prompt),
            _text_of_answers(asked.target),
            _text_of_answers(asked.distractor),
            "" if asked.other_prompt is None else _text_of_prompt(asked.other_prompt),
            is_chat,
        )

    @property
    def prompts(self) -> tuple[PromptAsked, PromptAsked | None]:
        """The prompt and the second one; None without one.

        Raises:
            InvalidRequestError: a chat's text does not say who speaks.
        """
        return self._read(self.prompt), self._read(self.other) if self.other else None

    @property
    def answers(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The targets and the distractors."""
        return answers_in(self.target), answers_in(self.distractor)

    def _read(self, text: str) -> PromptAsked:
        if not self.is_chat:
            return text
        messages = chat_of(text)
        if messages is None:
            raise InvalidRequestError('The chat is empty. Write a line for each message, such as "user: Hello".')
        return tuple(messages)


def answers_in(text: str) -> tuple[str, ...]:
    r"""The answers that a field holds.

    >>> answers_in(" Mary"), answers_in('[" Mary", " John"]'), answers_in("")
    ((' Mary',), (' Mary', ' John'), ())
    """
    if text.startswith("["):
        try:
            several = json.loads(text)
        except ValueError:
            several = None
        if isinstance(several, list) and several and all(isinstance(each, str) for each in several):
            return tuple(several)
    return (text,) if text else ()


def _text_of_answers(answers: tuple[str, ...]) -> str:
    if len(answers) == 1 and answers_in(answers[0]) == answers:
        return answers[0]
    return json.dumps(list(answers), ensure_ascii=False) if answers else ""


def _text_of_prompt(prompt: PromptAsked) -> str:
    return prompt if isinstance(prompt, str) else text_of_chat(prompt)
