"""Language models that are functions: they answer at once, and remember what they were asked."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from explanations.planted.corpus import tokens_of
from explanations.planted.rules import Rule
from neuron_explainer.explanations import ChatAnswer, ChatRequest

RUBBISH = "I would rather talk about the weather."
_MARKED = re.compile("<<(.*?)>>")


class ScriptedChat:
    """Answers each question by a function of it; `asked` has the questions, call by call."""

    def __init__(self, answer: Callable[[ChatRequest], str | ChatAnswer], name: str = "scripted") -> None:
        self.answer = answer
        self.name = name
        self.asked: list[list[ChatRequest]] = []

    def ask(self, requests: Sequence[ChatRequest], *, progress: bool | None = None) -> list[ChatAnswer]:
        self.asked.append(list(requests))
        answers = [self.answer(request) for request in requests]
        return [ChatAnswer(each) if isinstance(each, str) else each for each in answers]

    @property
    def questions(self) -> list[ChatRequest]:
        """All questions of all calls."""
        return [request for requests in self.asked for request in requests]


def says(*texts: str) -> ScriptedChat:
    """Gives one answer after the other, the last again and again."""
    left = list(texts)
    return ScriptedChat(lambda _: left.pop(0) if len(left) > 1 else left[0])


def question_of(request: ChatRequest) -> str:
    """The last thing that the user said before a complaint about the answer."""
    said = [text for role, text in request.messages if role == "user"]
    return said[-2] if said[-1].startswith("That answer cannot be used") else said[-1]


def is_asked_again(request: ChatRequest) -> bool:
    return request.messages[-1][1].startswith("That answer cannot be used")


def numbered_in(question: str) -> list[str]:
    """The numbered texts of a question, as they are quoted there."""
    return [found[1] for line in question.splitlines() if (found := re.match(r"\d+\. (.*)", line))]


def tokens_in(question: str) -> list[tuple[int, str]]:
    """The positions and tokens of a question about a text."""
    return [(place, token) for place, token in json.loads(question.splitlines()[-1])]


def judgements(fits: Sequence[bool], confidences: Sequence[float] | None = None) -> str:
    rows: list[dict[str, Any]] = [{"text": number, "fits": each} for number, each in enumerate(fits, 1)]
    for row, confidence in zip(rows, confidences or (), strict=False):
        row["confidence"] = confidence
    return json.dumps({"judgements": rows})


def detects(rule: Rule) -> ScriptedChat:
    """Knows a rule, and says on which texts it fires."""

    def answer(request: ChatRequest) -> str:
        texts = [json.loads(each) for each in numbered_in(question_of(request))]
        fits = [any(rule.simulate(tokens_of(text))) for text in texts]
        return judgements(fits, [90] * len(fits))

    return ScriptedChat(answer, "knows the rule")


def sees_marks(rule: Rule) -> ScriptedChat:
    """Knows a rule of single tokens, and says where all that is marked is what it fires on."""

    def answer(request: ChatRequest) -> str:
        marked = [
            [json.loads(f'"{token}"') for token in _MARKED.findall(text)] for text in numbered_in(question_of(request))
        ]
        return judgements([all(rule.simulate([token])[0] for token in tokens) for tokens in marked])

    return ScriptedChat(answer, "knows the rule")


def simulates(rule: Rule, level: int = 10) -> ScriptedChat:
    """Knows a rule, and gives each token its level by it."""

    def answer(request: ChatRequest) -> str:
        rows = tokens_in(question_of(request))
        fires = rule.simulate([token for _, token in rows])
        return json.dumps({"activations": [[*row, round(level * each)] for row, each in zip(rows, fires, strict=True)]})

    return ScriptedChat(answer, "knows the rule")
