"""Asks a language model which of some texts fit an explanation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from neuron_explainer.errors import AnswerFormatError
from neuron_explainer.explanations.clients.client import ChatAnswer, ChatClient, ChatRequest
from neuron_explainer.explanations.clients.structured import parsed
from neuron_explainer.explanations.language_models import prompts
from neuron_explainer.explanations.language_models.asking import read_answers
from neuron_explainer.explanations.language_models.likelihoods import likelihood_of, token_starts
from neuron_explainer.explanations.language_models.messages import Messages, system_message
from neuron_explainer.explanations.language_models.showing import numbered

_SURE = 100
_FITS = re.compile(r'"fits"\s*:\s*(true|false)')


class _OfText(msgspec.Struct):
    text: int
    fits: bool
    confidence: float | None = None


class _Judged(msgspec.Struct):
    judgements: list[_OfText]


@dataclass(frozen=True)
class Judgement:
    """What was answered about one text.

    Attributes:
        fits: whether it fits the explanation.
        confidence: the probability that it fits, 0 to 1, by the log-probabilities or by how sure the model said it is;
            None if neither is known.
    """

    fits: bool
    confidence: float | None


@dataclass(frozen=True)
class Judge:
    """Asks a language model which texts fit an explanation, several texts in one question.

    Attributes:
        client: what is asked.
        instructions: what it is told.
        demonstration: numbered texts, and whether each fits, that are shown with their answer.
        per_question: the most texts of a question.
        with_confidence: whether it is asked how sure it is.
        top_logprobs: of how many of the likeliest tokens the log-probabilities are asked for.
        progress: whether there is a bar.
    """

    client: ChatClient
    instructions: str
    demonstration: tuple[tuple[str, bool], ...]
    per_question: int
    with_confidence: bool
    top_logprobs: int
    progress: bool | None

    def judge(self, explanation: str, groups: Sequence[Sequence[str]]) -> list[Judgement | None]:
        """What is answered about each text; None where an answer did not have the form, though asked for once more.

        Args:
            explanation: the explanation, as a JSON string.
            groups: the texts, as JSON strings; those of two groups are in no question together.

        Raises:
            AnswerFormatError: no answer has the form.
        """
        questions = [
            group[start : start + self.per_question]
            for group in groups
            for start in range(0, len(group), self.per_question)
        ]
        requests = [self._request(explanation, texts) for texts in questions]
        read = [partial(_read, n=len(texts)) for texts in questions]
        found = read_answers(self.client, requests, read, self.progress)
        errors = [each for each in found if isinstance(each, AnswerFormatError)]
        if errors and len(errors) == len(found):
            raise errors[0]
        judged: list[Judgement | None] = []
        for texts, each in zip(questions, found, strict=True):
            judged += [None] * len(texts) if isinstance(each, AnswerFormatError) else each
        return judged

    def _request(self, explanation: str, texts: Sequence[str]) -> ChatRequest:
        form = prompts.ANSWER_WITH_CONFIDENCE if self.with_confidence else prompts.ANSWER_JUDGEMENTS
        messages: Messages = (
            ("system", system_message(self.instructions, form)),
            ("user", _question(prompts.JUDGED_EXPLANATION, [text for text, _ in self.demonstration])),
            ("assistant", self._good_answer()),
            ("user", _question(explanation, texts)),
        )
        return ChatRequest(messages, 64 + 40 * len(texts), schema=self._schema(), top_logprobs=self.top_logprobs)

    def _good_answer(self) -> str:
        confidence = ', "confidence": 95' if self.with_confidence else ""
        rows = (
            f'{{"text": {number}, "fits": {"true" if fits else "false"}{confidence}}}'
            for number, (_, fits) in enumerate(self.demonstration, 1)
        )
        return f'{{"judgements": [{", ".join(rows)}]}}'

    def _schema(self) -> dict[str, object]:
        kinds = {"text": "integer", "fits": "boolean"} | ({"confidence": "number"} if self.with_confidence else {})
        entry = _object({name: {"type": kind} for name, kind in kinds.items()})
        return _object({"judgements": {"type": "array", "items": entry}})


def _object(properties: dict[str, object]) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def _question(explanation: str, texts: Sequence[str]) -> str:
    return f"Explanation: {explanation}\n{numbered(texts)}"


def _read(answer: ChatAnswer, n: int) -> list[Judgement]:
    """The judgements of a question's texts, in the order of their numbers."""
    rows = parsed(answer, _Judged).judgements
    if sorted(row.text for row in rows) != list(range(1, n + 1)):
        raise AnswerFormatError(
            f"its {len(rows)} entries are not of the texts 1 to {n}", f"one entry for each of {n} texts", answer.text
        )
    if any(row.confidence is not None and not 0 <= row.confidence <= _SURE for row in rows):
        raise AnswerFormatError("a confidence is not from 0 to 100", "confidences from 0 to 100", answer.text)
    likely = _likelihoods(answer, rows)
    judged = [Judgement(row.fits, _confidence(row, share)) for row, share in zip(rows, likely, strict=True)]
    by_number = sorted(zip((row.text for row in rows), judged, strict=True), key=lambda each: each[0])
    return [each for _, each in by_number]


def _confidence(row: _OfText, likely: float | None) -> float | None:
    if likely is not None or row.confidence is None:
        return likely
    towards = row.confidence / _SURE / 2
    return 0.5 + towards if row.fits else 0.5 - towards


def _likelihoods(answer: ChatAnswer, rows: Sequence[_OfText]) -> list[float | None]:
    """For each entry the probability of "true", by the log-probabilities; None where it is not known."""
    starts = token_starts(answer)
    found = list(_FITS.finditer(answer.text))
    if starts is None or [each[1] == "true" for each in found] != [row.fits for row in rows]:
        return [None] * len(rows)
    return [likelihood_of(answer, starts, each.start(1), "true", "false") for each in found]
