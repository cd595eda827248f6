"""Many questions to one endpoint: at the same time, again where one fails, and none without a need."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from neuron_explainer.errors import EndpointError
from neuron_explainer.explanations.clients.client import ChatAnswer, ChatRequest
from neuron_explainer.explanations.clients.connection import Connection, Refused, TurnedAway
from neuron_explainer.explanations.clients.rate_limit import RateLimit
from neuron_explainer.explanations.clients.spending import Budget
from neuron_explainer.explanations.clients.wire import NoAnswer, answer_in, body_of, refused_part

KeyT = TypeVar("KeyT")


@dataclass
class Endpoint:
    """An endpoint, with what is known of it. Only the thread of the event loop changes it.

    Attributes:
        base_url, model: its address, and the model that is asked.
        budget: what may be spent.
        rate_limit: how often it may be asked.
        max_attempts: how often a question is asked until it is answered.
        pause, longest_pause: the seconds before the second attempt, at most, which grow twofold with each; and the most
            seconds before any.
        refused: the parts of requests that it does not take.
    """

    base_url: str
    model: str
    budget: Budget
    rate_limit: RateLimit
    max_attempts: int
    pause: float
    longest_pause: float
    refused: frozenset[str] = frozenset()


class _Abandoned(Exception):
    """Another question failed for good, and this one is not under way."""


@dataclass
class Asking:
    """One call's questions.

    Attributes:
        endpoint: who is asked.
        connection: the connection.
        slots: limits how many questions are under way.
        under_way: the questions of all calls that are, with what gets their answers; None: they have none.
        problem: the first error; None if all went well.
    """

    endpoint: Endpoint
    connection: Connection
    slots: asyncio.Semaphore
    under_way: dict[Any, asyncio.Future[ChatAnswer | None]] = field(default_factory=dict)
    problem: BaseException | None = None
    _is_stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask_all(
        self,
        questions: Mapping[KeyT, ChatRequest],
        n_at_once: int,
        take: Callable[[KeyT, ChatAnswer], object],
        known: Callable[[KeyT], ChatAnswer | None] = lambda key: None,
    ) -> None:
        """Ask all questions.

        After an error nothing new is asked, but what is under way is waited for: it may have been paid for.

        Args:
            questions: the questions.
            n_at_once: how many are asked at the same time.
            take: gets each answer as soon as it has come.
            known: gives the answer to a question that another call, or another process, has got meanwhile.

        Raises:
            NeuronExplainerError: the first error.
        """
        pending = iter(questions.items())
        async with asyncio.TaskGroup() as group:
            for _ in range(min(n_at_once, len(questions))):
                group.create_task(self._work(pending, take, known))
        if self.problem is not None:
            raise self.problem

    async def _work(
        self,
        pending: Iterator[tuple[KeyT, ChatRequest]],
        take: Callable[[KeyT, ChatAnswer], object],
        known: Callable[[KeyT], ChatAnswer | None],
    ) -> None:
        """Ask one question after the other, as long as there are any and all goes well."""
        for key, request in pending:
            try:
                take(key, await self._answered_once(key, request, known))
            except _Abandoned:
                return
            except Exception as error:
                self.problem = self.problem or error
                self._is_stopping.set()
                return
            if self._is_stopping.is_set():
                return

    async def _answered_once(
        self, key: KeyT, request: ChatRequest, known: Callable[[KeyT], ChatAnswer | None]
    ) -> ChatAnswer:
        """The answer to a question; where another call is asking the same one, the answer that it gets."""
        while (others := self.under_way.get(key)) is not None:
            if (answer := await self._answer_of(others)) is not None:
                return replace(answer, is_from_cache=True)
        if (answer := known(key)) is not None:
            return answer
        own = self.under_way[key] = asyncio.get_running_loop().create_future()
        try:
            async with self.slots:
                answer = await self._answer(request)
            return answer
        finally:
            del self.under_way[key]
            own.set_result(answer)

    async def _answer_of(self, others: asyncio.Future[ChatAnswer | None]) -> ChatAnswer | None:
        """The answer that another call gets; None if it gets none.

        Raises:
            _Abandoned: nothing more is to be asked.
        """
        stopping = asyncio.ensure_future(self._is_stopping.wait())
        try:
            either: set[asyncio.Future[Any]] = {others, stopping}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        if not others.done():
            raise _Abandoned
        return others.result()

    async def _answer(self, request: ChatRequest) -> ChatAnswer:
        """The answer to a question, after some attempts.

        Raises:
            EndpointError, BudgetExceededError: there is none.
        """
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

        problem = None
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.endpoint.max_attempts),
            wait=self._seconds_before_next,
            retry=retry_if_exception_type(TurnedAway),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return await retrying(self._attempt, request)
        except TurnedAway as error:
            last = error.error
            attempts = f"{last.problem} (attempts: {self.endpoint.max_attempts})"
            problem = EndpointError(last.location, attempts, last.status_code)
        except Refused as error:
            problem = error.error
        raise problem  # outside of the handlers: without the other error and what it holds

    def _seconds_before_next(self, state: Any) -> float:
        """The seconds before the next attempt: any up to a bound that grows; or those that the endpoint asked for."""
        pause, longest = self.endpoint.pause, self.endpoint.longest_pause
        asked = state.outcome.exception().wait
        if asked is not None:
            seconds = min(asked, longest)
            self.endpoint.rate_limit.hold(seconds)
            return float(seconds + random.uniform(0, pause))
        return random.uniform(0, min(longest, pause * 2.0 ** (state.attempt_number - 1)))

    async def _attempt(self, request: ChatRequest) -> ChatAnswer:
        """One attempt, and another one without each part of the request that the endpoint turns out not to take.

        Raises:
            TurnedAway, Refused, BudgetExceededError: there is no answer.
        """
        endpoint = self.endpoint
        while True:
            await self._sleep(0)
            while (seconds := endpoint.rate_limit.seconds_to_wait()) > 0:
                await self._sleep(seconds)
            endpoint.budget.check()
            endpoint.budget.sent()
            body = body_of(request, endpoint.model, endpoint.refused)
            content = b""
            try:
                content = await self.connection.answer_to(body)
                answer = self.connection.without_key(answer_in(content, request, self.connection.clean))
            except NoAnswer as none:
                endpoint.budget.answered_wrongly(request, content)
                problem, may_pass = EndpointError(endpoint.base_url, none.problem, none.status_code), none.may_pass
            except Refused as refusal:
                part = refused_part(refusal.error.status_code or 0, refusal.said, body)
                if part is None:
                    raise
                endpoint.refused |= {part}
                continue
            else:
                endpoint.budget.answered(request, answer)
                return answer
            raise TurnedAway(problem) if may_pass else Refused(problem, "")

    async def _sleep(self, seconds: float) -> None:
        """Wait, unless nothing more is to be asked.

        Raises:
            _Abandoned: nothing more is.
        """
        if seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_stopping.wait(), seconds)
        if self._is_stopping.is_set():
            raise _Abandoned
