"""`LanguageModelExplainer`: explanations that a language model writes from examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import SupportsFloat, SupportsIndex

import msgspec

from neuron_explainer.errors import AnswerFormatError, InvalidRequestError, choices_sentence, shown
from neuron_explainer.explanations.asking.examples import text_key
from neuron_explainer.explanations.asking.explanation import MOST_CHARACTERS, Explanation
from neuron_explainer.explanations.asking.subject import Subject
from neuron_explainer.explanations.clients.client import ChatAnswer, ChatClient, ChatRequest
from neuron_explainer.explanations.clients.structured import parsed, schema_of
from neuron_explainer.explanations.language_models.asking import MOST_SEED_ASKED, ask_and_read, checked_client
from neuron_explainer.explanations.language_models.messages import explaining_messages
from neuron_explainer.explanations.language_models.near_misses import near_misses
from neuron_explainer.explanations.language_models.prompts import DEMONSTRATIONS, Demonstration
from neuron_explainer.explanations.language_models.showing import Show, shown_example
from neuron_explainer.vocabulary.checks import (
    checked_flag,
    checked_number,
    checked_text,
    checked_type,
    finite_number,
)
from neuron_explainer.wording import as_valid_text

N_OUTPUTS = 10
_SHOWS = ("marked", "listed")


class WrittenExplanation(msgspec.Struct):
    """What is answered: an explanation."""

    explanation: str


_SCHEMA = schema_of(WrittenExplanation)


class LanguageModelExplainer:
    """Asks a language model what a component does, from pieces of its top examples.

    The question holds demonstrations, the pieces with levels from 0 to 10 (10 is `subject.highest`), near misses, and
    the output tokens of a component that has a model. Of a head, the strongest pairs are listed: what attends to what.
    An answer that does not have the form is asked for once more.

    Args:
        client: what is asked, such as OpenAICompatibleClient(…) or LocalClient(model).
        n_examples: at most how many top examples are shown.
        window: the most tokens of a piece; it is cut around the example's peak.
        show: "marked": texts with marks around active tokens; "listed": every token with its level.
        contrast: whether near misses are shown: random texts with a token of the peaks, but with low activations.
        outputs: whether the tokens are shown that the component makes likelier, where they are known.
        temperature: of sampling, where several explanations are asked for; a single one is asked for with 0.
        seed: of the first sample; the others have the numbers after it.
        max_tokens: the most tokens of an answer.
        instructions: what the model is told, instead of `prompts.EXPLAIN`. How texts are shown, and the form of the
            answer, are told beneath it.
        demonstrations: questions with good answers; None: those of `prompts.DEMONSTRATIONS`; empty: none.
        progress: whether there is a bar; None: where it takes long.

    Raises:
        InvalidRequestError: an argument is none of these.

    >>> import neuron_explainer as ne
    >>> from neuron_explainer.explanations.clients.client import ChatAnswer
    >>> class Parrot:
    ...     name = "parrot"
    ...     def ask(self, requests, *, progress=None):
    ...         return [ChatAnswer('{"explanation": "names of animals"}') for _ in requests]
    >>> explainer = LanguageModelExplainer(Parrot())
    >>> from neuron_explainer.explanations import explain
    >>> explain(ne.load_neuron("tiny", 2, 5), explainer)[0].text
    'names of animals'
    """

    def __init__(
        self,
        client: ChatClient,
        *,
        n_examples: SupportsIndex = 10,
        window: SupportsIndex = 32,
        show: Show = "marked",
        contrast: bool = True,
        outputs: bool = True,
        temperature: SupportsFloat = 0.7,
        seed: SupportsIndex = 0,
        max_tokens: SupportsIndex = 256,
        instructions: str | None = None,
        demonstrations: Sequence[Demonstration] | None = None,
        progress: bool | None = None,
    ) -> None:
        self.client = checked_client(client)
        self.name = f"language model {client.name}"
        self.n_examples = checked_number("n_examples", n_examples)
        self.window = checked_number("window", window)
        if show not in _SHOWS:
            raise InvalidRequestError(f"show is {shown(show)}. {choices_sentence(_SHOWS)}")
        self.show: Show = show
        self.contrast, self.outputs = checked_flag("contrast", contrast), checked_flag("outputs", outputs)
        number = finite_number(temperature)
        if number is None or number < 0:
            raise InvalidRequestError(f"temperature is {shown(temperature)}. Give a number, 0 or more.")
        self.temperature = number
        self.seed = checked_number("seed", seed, 0, at_most=MOST_SEED_ASKED)
        self.max_tokens = checked_number("max_tokens", max_tokens)
        self.instructions = None if instructions is None else checked_text("instructions", instructions)
        self.demonstrations = None if demonstrations is None else _checked_demonstrations(demonstrations)
        self.progress = progress

    def __repr__(self) -> str:
        return f"<LanguageModelExplainer: {self.client.name}>"

    def explain(self, subject: Subject, n: int) -> list[Explanation]:
        """At most n explanations: of n samples those that differ, the one that came most often first.

        Args:
            subject: the component.
            n: how many samples are asked for.

        Raises:
            InvalidRequestError: the component has no examples with an activation above 0.
            AnswerFormatError: no answer had the form, though it was asked for once more.
        """
        request, keys = self.request(subject)
        samples = [request]
        if n > 1:
            samples = [replace(request, temperature=self.temperature, seed=self.seed + number) for number in range(n)]
        found = ask_and_read(self.client, samples, [_read] * len(samples), self.progress)
        texts = Counter(each for each in found if isinstance(each, str))
        errors = [each for each in found if isinstance(each, AnswerFormatError)]
        if not texts and errors:
            raise errors[0]
        details = {"model": self.client.name, "show": self.show, "samples": len(samples), "unreadable": len(errors)}
        return [
            Explanation(text, self.name, written_from=keys, details={**details, "times answered": count})
            for text, count in texts.most_common()
        ]

    def request(self, subject: Subject) -> tuple[ChatRequest, frozenset[str]]:
        """The question about a component, and the digests of all texts in it.

        Args:
            subject: the component.

        Raises:
            InvalidRequestError: the component has no examples with an activation above 0.
        """
        highest, train = subject.highest, subject.examples.train
        examples = sorted(train, key=lambda each: -(each.max_activation or 0.0))[: self.n_examples]
        misses = near_misses(subject, max(1, self.n_examples // 2)) if self.contrast else []
        question = Demonstration(
            tuple(shown_example(each, highest, self.window) for each in examples),
            "",
            tuple(shown_example(each, highest, self.window, place) for each, place in misses),
            tuple(subject.writes(N_OUTPUTS)) if self.outputs and subject.writes is not None else (),
        )
        demonstrations = DEMONSTRATIONS.get(subject.kind, ()) if self.demonstrations is None else self.demonstrations
        messages = explaining_messages(subject.kind, question, demonstrations, self.show, self.instructions)
        keys = frozenset(map(text_key, (*examples, *(example for example, _ in misses))))
        return ChatRequest(messages, self.max_tokens, seed=self.seed, schema=_SCHEMA), keys


def _read(answer: ChatAnswer) -> str:
    text = parsed(answer, WrittenExplanation, "; raise max_tokens").explanation.strip()[:MOST_CHARACTERS].strip()
    if text in ("", "…"):  # which stands for it in the form that is asked for
        raise AnswerFormatError("the explanation is empty", "an explanation", answer.text)
    return as_valid_text(text)


def _checked_demonstrations(given: object) -> tuple[Demonstration, ...]:
    if isinstance(given, str | Demonstration) or not isinstance(given, Iterable):
        raise InvalidRequestError(
            f"demonstrations is {shown(given)}. Give a list of Demonstration(…), or an empty one."
        )
    return tuple(checked_type("demonstrations", each, Demonstration) for each in given)
