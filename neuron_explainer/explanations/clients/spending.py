"""What a client has spent, and what it may spend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from neuron_explainer.errors import BudgetExceededError, InvalidRequestError, shown
from neuron_explainer.explanations.clients.client import ChatAnswer, ChatRequest
from neuron_explainer.vocabulary.checks import checked_number, finite_number
from neuron_explainer.wording import counted

_BYTES_PER_TOKEN = 3


@dataclass(frozen=True)
class Spending:
    """What a client has spent since it was made. Answers from its cache cost nothing.

    Attributes:
        n_requests: how many requests were sent, with those that failed.
        n_answers: how many answers came.
        n_prompt_tokens, n_answer_tokens: how many tokens were read and written, as the endpoint says; where it does
            not, or answered something that is not an answer, one for every three bytes.
        cost: in the currency of the prices; None without prices.
    """

    n_requests: int = 0
    n_answers: int = 0
    n_prompt_tokens: int = 0
    n_answer_tokens: int = 0
    cost: float | None = None

    @property
    def n_tokens(self) -> int:
        """How many tokens were read and written."""
        return self.n_prompt_tokens + self.n_answer_tokens

    def __str__(self) -> str:
        cost = "" if self.cost is None else f", which cost {self.cost:,.4g}"
        return (
            f"{counted(self.n_requests, 'request')} and {counted(self.n_answers, 'answer')}, with "
            f"{counted(self.n_prompt_tokens, 'token')} of prompts and {self.n_answer_tokens:,} of answers{cost}"
        )


@dataclass
class Budget:
    """Counts what is spent, and says when it is enough.

    Attributes:
        max_tokens_total: the most tokens of prompts and answers; None: any number.
        max_cost: the most that may be paid; None: any sum.
        prices: of a million tokens of prompts, and of answers; None if unknown.
        spent: what is spent so far.
    """

    max_tokens_total: int | None = None
    max_cost: float | None = None
    prices: tuple[float, float] | None = None
    spent: Spending = Spending()

    @classmethod
    def checked(cls, max_tokens_total: object, max_cost: object, prices: object) -> Budget:
        """A budget of what a caller gave.

        Raises:
            InvalidRequestError: one is not a positive number, prices are not two, or a cost is capped without prices.
        """
        tokens = None if max_tokens_total is None else checked_number("max_tokens_total", max_tokens_total)
        cost, both = finite_number(max_cost), None
        if max_cost is not None and (cost is None or cost <= 0):
            raise InvalidRequestError(f"max_cost is {shown(max_cost)}. Give a positive number, or None.")
        if prices is not None:
            both = [finite_number(each) for each in prices] if isinstance(prices, Sequence) else []
            if len(both) != 2 or any(each is None or each < 0 for each in both):
                raise InvalidRequestError(
                    f"prices is {shown(prices)}. Give two numbers: the price of a million tokens of prompts, and of "
                    "answers."
                )
        if cost is not None and both is None:
            raise InvalidRequestError("max_cost needs prices: of a million tokens of prompts, and of answers.")
        known = None if both is None else (both[0] or 0.0, both[1] or 0.0)
        return cls(tokens, cost, known, Spending(cost=None if known is None else 0.0))

    def check(self) -> None:
        """Before a request.

        Raises:
            BudgetExceededError: what may be spent is spent.
        """
        spent = self.spent
        if self.max_tokens_total is not None and spent.n_tokens >= self.max_tokens_total:
            raise BudgetExceededError("max_tokens_total", spent.n_tokens, self.max_tokens_total, str(spent))
        if self.max_cost is not None and (spent.cost or 0.0) >= self.max_cost:
            raise BudgetExceededError("max_cost", spent.cost or 0.0, self.max_cost, str(spent))

    def sent(self) -> None:
        """A request is sent."""
        self.spent = replace(self.spent, n_requests=self.spent.n_requests + 1)

    def answered(self, request: ChatRequest, answer: ChatAnswer) -> None:
        """An answer came."""
        n_prompt, n_answer = answer.n_prompt_tokens, answer.n_answer_tokens
        if not n_prompt:  # 0 is as good as nothing said: no prompt is without tokens
            n_prompt = _estimate(*(text for _, text in request.messages))
        if not n_answer:
            n_answer = _estimate(answer.text)
        self._count(n_prompt, n_answer, 1)

    def answered_wrongly(self, request: ChatRequest, content: bytes) -> None:
        """Something came that is not an answer; it may have been one until it was cut off."""
        n_answer = min(request.max_tokens, -(-len(content) // _BYTES_PER_TOKEN))
        self._count(_estimate(*(text for _, text in request.messages)), n_answer, 0)

    def _count(self, n_prompt: int, n_answer: int, n_answers: int) -> None:
        spent, cost = self.spent, None
        if self.prices is not None:
            of_prompts, of_answers = self.prices
            cost = (spent.cost or 0.0) + (n_prompt * of_prompts + n_answer * of_answers) / 1e6
        self.spent = Spending(
            spent.n_requests,
            spent.n_answers + n_answers,
            spent.n_prompt_tokens + n_prompt,
            spent.n_answer_tokens + n_answer,
            cost,
        )


def _estimate(*texts: str) -> int:
    return -(-sum(len(text.encode()) for text in texts) // _BYTES_PER_TOKEN)
