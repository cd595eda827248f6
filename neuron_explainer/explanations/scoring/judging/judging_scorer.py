"""What scorers share that ask a language model to judge texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from neuron_explainer.explanations.clients.client import ChatClient
from neuron_explainer.explanations.language_models.asking import checked_client
from neuron_explainer.explanations.language_models.judging import Judge
from neuron_explainer.explanations.scoring.texts import N_TOKENS
from neuron_explainer.vocabulary.checks import MOST_SEED, checked_flag, checked_number, checked_text

LEAST_OF_EACH = 2
"""How many texts there must be of each kind: those that fit, and others."""


@dataclass(eq=False, repr=False)
class JudgingScorer:
    """Asks a language model which texts fit an explanation, several in one question.

    Where an answer cannot be read, the question is asked once more; if that answer cannot be read either, its
    judgements are missing, and the score's `note` counts them.

    Attributes:
        client: what is asked, such as OpenAICompatibleClient(…) or LocalClient(model).
        n_texts: the most texts that are judged; half of them fit.
        n_tokens: the tokens of a text.
        per_question: the most texts of a question.
        confidence: whether the model is asked how sure it is.
        top_logprobs: of how many of the likeliest tokens the log-probabilities are asked for; 0: of none.
        instructions: what the model is told; None: the usual. The form of the answer is told beneath it.
        seed: which texts are drawn where there are more, and their order.
        progress: whether there is a bar; None: where it takes long.
        name: what it is called in tables and files.

    Raises:
        InvalidRequestError: an argument is none of these.
    """

    client: ChatClient
    n_texts: int = field(default=40, kw_only=True)
    n_tokens: int = field(default=N_TOKENS, kw_only=True)
    per_question: int = field(default=5, kw_only=True)
    confidence: bool = field(default=True, kw_only=True)
    top_logprobs: int = field(default=0, kw_only=True)
    instructions: str | None = field(default=None, kw_only=True)
    seed: int = field(default=0, kw_only=True)
    progress: bool | None = field(default=None, kw_only=True)
    name: str = field(default="", init=False)

    method: ClassVar[str]
    usual_instructions: ClassVar[str]
    demonstration: ClassVar[tuple[tuple[str, bool], ...]]

    def __post_init__(self) -> None:
        self.name = f"{self.method} by {checked_client(self.client).name}"
        self.n_texts = checked_number("n_texts", self.n_texts, 2 * LEAST_OF_EACH)
        self.n_tokens = checked_number("n_tokens", self.n_tokens)
        self.per_question = checked_number("per_question", self.per_question, at_most=100)
        self.confidence = checked_flag("confidence", self.confidence)
        self.top_logprobs = checked_number("top_logprobs", self.top_logprobs, 0, at_most=20)
        self.seed = checked_number("seed", self.seed, 0, at_most=MOST_SEED)
        if self.instructions is not None:
            checked_text("instructions", self.instructions)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.name}>"

    @property
    def judge(self) -> Judge:
        """What asks, and reads the answers."""
        return Judge(
            self.client,
            self.usual_instructions if self.instructions is None else self.instructions,
            self.demonstration,
            self.per_question,
            self.confidence,
            self.top_logprobs,
            self.progress,
        )
