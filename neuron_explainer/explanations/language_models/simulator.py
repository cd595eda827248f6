"""`LanguageModelSimulator`: activations that a language model predicts from an explanation in words."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, SupportsFloat, SupportsIndex

import msgspec

from neuron_explainer.errors import AnswerFormatError, InvalidRequestError, shown
from neuron_explainer.explanations.asking.explanation import Explanation, as_explanation, checked_tokens
from neuron_explainer.explanations.clients.client import ChatAnswer, ChatClient, ChatRequest
from neuron_explainer.explanations.clients.structured import parsed, schema_of
from neuron_explainer.explanations.language_models import prompts
from neuron_explainer.explanations.language_models.alignment import aligned, entry_of
from neuron_explainer.explanations.language_models.asking import ask_and_read, checked_client
from neuron_explainer.explanations.language_models.likelihoods import expected_number, token_starts
from neuron_explainer.explanations.language_models.messages import Messages, system_message
from neuron_explainer.explanations.language_models.quoting import MOST_CHARACTERS_OF_TOKEN, quoted_text, quoted_tokens
from neuron_explainer.explanations.language_models.showing import TOP_LEVEL
from neuron_explainer.vocabulary.checks import checked_number, checked_text, finite_number

MOST_TOKENS_AT_ONCE = 256
"""Longer texts are asked about in parts."""
MOST_TOKENS_BEFORE = 64
"""How much of a text is shown before a part of it."""
MOST_ANSWERED = 16_000
"""The most tokens of an answer; texts of ordinary tokens need far less."""
_MOST_ENTRIES_FOR_TOKEN = 4
# A string is matched as a whole, so that no number within one is taken for a level.
# One that never ends matches up to the end, and nothing is tried twice: so the search takes linear time.
_STRING_OR_LEVEL = re.compile(r'"(?:[^"\\]++|\\.?)*+"?|,\s*+([0-9]++)\s*+\]', re.DOTALL)


class _Simulated(msgspec.Struct):
    activations: list[Any]


class SimulatedLevels(msgspec.Struct):
    """What is asked for: position, token and level of each token."""

    activations: list[list[int | str]]


_SCHEMA = schema_of(SimulatedLevels)


@dataclass(frozen=True)
class _Part:
    """A part of a text: which text, from where on, and its tokens, with those before it."""

    text: int
    first: int
    tokens: tuple[str, ...]
    before: tuple[str, ...]


class LanguageModelSimulator:
    """Predicts activations by asking a language model what an explanation says of each token of a text.

    All tokens of a text are asked about in one question, and answered by levels from 0 to 10; many texts are asked
    about at once. A text of more than 256 tokens is asked about in parts. An answer may lack tokens (their prediction
    is NaN), or have others (they are left out): it is aligned with the text by positions and tokens. Log-probabilities
    are not needed; where an answer has them, a prediction is the expected level instead of the likeliest.

    Predictions are by token. Of a head, that is how strongly a token attends to any token as the explanation says.

    Args:
        client: what is asked, such as OpenAICompatibleClient(…) or LocalClient(model).
        explanation: what the component does.
        highest: the activation that level 10 stands for; None: predictions are levels.
        top_logprobs: of how many of the likeliest tokens the log-probabilities are asked for; 0: of none.
        instructions: what the model is told, instead of `prompts.SIMULATE`; the form of the answer is told beneath it.
        progress: whether there is a bar; None: where it takes long.

    Raises:
        InvalidRequestError: an argument is none of these.

    >>> from neuron_explainer.explanations.clients.client import ChatAnswer
    >>> class Parrot:
    ...     name = "parrot"
    ...     def ask(self, requests, *, progress=None):
    ...         return [ChatAnswer('{"activations": [[0, "a", 0], [1, " cat", 10]]}') for _ in requests]
    >>> LanguageModelSimulator(Parrot(), "names of animals").simulate(["a", " cat"])
    [0.0, 10.0]
    """

    def __init__(
        self,
        client: ChatClient,
        explanation: Explanation | str,
        highest: SupportsFloat | None = None,
        *,
        top_logprobs: SupportsIndex = 0,
        instructions: str | None = None,
        progress: bool | None = None,
    ) -> None:
        self.client = checked_client(client)
        self.explanation = as_explanation(explanation).text
        number = None if highest is None else finite_number(highest)
        if highest is not None and (number is None or number <= 0):
            raise InvalidRequestError(f"highest is {shown(highest)}. Give the component's highest activation, or None.")
        self.highest = number
        self.top_logprobs = checked_number("top_logprobs", top_logprobs, 0, at_most=20)
        self.instructions = prompts.SIMULATE if instructions is None else checked_text("instructions", instructions)
        self.progress = progress

    def __repr__(self) -> str:
        return f"<LanguageModelSimulator: {self.client.name}, {shown(self.explanation, 60)}>"

    def simulate(self, tokens: Sequence[str]) -> list[float]:
        """One prediction for each token; NaN where the answer has none.

        Args:
            tokens: a text, token by token.

        Raises:
            AnswerFormatError: the answer does not have the form, though it was asked for once more.
        """
        return self.simulate_many([tokens])[0]

    def simulate_many(self, texts: Sequence[Sequence[str]]) -> list[list[float]]:
        """The predictions for many texts, which are asked for at once.

        Args:
            texts: texts, token by token.

        Returns:
            One prediction for each token of each text. Where an answer does not have the form, though it was asked for
            once more, the predictions for its part are NaN.

        Raises:
            AnswerFormatError: no answer has the form.
            InvalidRequestError: a text is not a list of tokens.
        """
        parts = [part for number, tokens in enumerate(texts) for part in _parts(number, tokens)]
        requests = [self._request(part) for part in parts]
        found = ask_and_read(self.client, requests, [partial(_read, part=part) for part in parts], self.progress)
        errors = [each for each in found if isinstance(each, AnswerFormatError)]
        if errors and len(errors) == len(found):
            raise errors[0]
        scale = 1.0 if self.highest is None else self.highest / TOP_LEVEL
        values = [[math.nan] * len(tokens) for tokens in texts]
        for part, levels in zip(parts, found, strict=True):
            if not isinstance(levels, AnswerFormatError):
                values[part.text][part.first : part.first + len(levels)] = [level * scale for level in levels]
        return values

    def _request(self, part: _Part) -> ChatRequest:
        demonstrated = prompts.SIMULATED_TEXT.split("|")
        messages: Messages = (
            ("system", system_message(self.instructions, prompts.ANSWER_SIMULATION)),
            ("user", _question(prompts.SIMULATED_EXPLANATION, _Part(0, 0, tuple(demonstrated), ()))),
            ("assistant", _good_answer(demonstrated, prompts.SIMULATED_LEVELS)),
            ("user", _question(self.explanation, part)),
        )
        n_characters = sum(min(len(token), MOST_CHARACTERS_OF_TOKEN) for token in part.tokens)
        most = min(MOST_ANSWERED, 64 + 14 * len(part.tokens) + 2 * n_characters)
        return ChatRequest(messages, most, schema=_SCHEMA, top_logprobs=self.top_logprobs)


def _parts(number: int, tokens: Sequence[str]) -> list[_Part]:
    checked_tokens(tokens)
    return [
        _Part(
            number,
            first,
            tuple(tokens[first : first + MOST_TOKENS_AT_ONCE]),
            tuple(tokens[max(0, first - MOST_TOKENS_BEFORE) : first]),
        )
        for first in range(0, len(tokens), MOST_TOKENS_AT_ONCE)
    ]


def _question(explanation: str, part: _Part) -> str:
    lines = [f"Explanation: {quoted_text(explanation)}"]
    if part.before:
        lines.append(f"The text begins: {quoted_tokens(part.before)}")
        lines.append("It goes on, as [position, token]:")
    else:
        lines.append("The text, as [position, token]:")
    rows = ", ".join(f"[{place}, {quoted_tokens([token])}]" for place, token in enumerate(part.tokens, part.first))
    return "\n".join([*lines, f"[{rows}]"])


def _good_answer(tokens: Sequence[str], levels: Sequence[int]) -> str:
    rows = (
        f"[{place}, {quoted_tokens([token])}, {level}]"
        for place, (token, level) in enumerate(zip(tokens, levels, strict=True))
    )
    return f'{{"activations": [{", ".join(rows)}]}}'


def _read(answer: ChatAnswer, part: _Part) -> list[float]:
    """The levels of a part's tokens, by what was likely where that is known."""
    rows = parsed(answer, _Simulated).activations
    expected = f"up to {len(part.tokens)} entries [position, token, level]"
    if len(rows) > _MOST_ENTRIES_FOR_TOKEN * len(part.tokens):
        raise AnswerFormatError(f"it has {len(rows):,} entries", expected, answer.text)
    levels = _expected_levels(answer, rows)
    entries = [
        entry_of(row if level is None else [*row[:-1], level], TOP_LEVEL)
        for row, level in zip(rows, levels, strict=True)
    ]
    found = aligned(part.tokens, [entry for entry in entries if entry is not None], part.first)
    if all(math.isnan(level) for level in found):
        raise AnswerFormatError("no entry is of a token of the text, with a level from 0 to 10", expected, answer.text)
    return found


def _expected_levels(answer: ChatAnswer, rows: Sequence[Any]) -> list[float | None]:
    """The expected level of each entry; None where it is not known."""
    unknown: list[float | None] = [None] * len(rows)
    if (starts := token_starts(answer)) is None:
        return unknown
    places = [(found.start(1), found[1]) for found in _STRING_OR_LEVEL.finditer(answer.text) if found[1] is not None]
    written = [row[-1] if isinstance(row, list) and row else None for row in rows]
    if [value for _, value in places] != [str(value) for value in written]:
        return unknown
    return [expected_number(answer, starts, place, TOP_LEVEL) for place, _ in places]
