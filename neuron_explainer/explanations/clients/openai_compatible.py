"""`OpenAICompatibleClient`: any endpoint that speaks OpenAI's chat completions, on this machine or elsewhere."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from typing import SupportsFloat, SupportsIndex
from urllib.parse import urlsplit

from neuron_explainer.activation_server.event_loop import run_coroutine
from neuron_explainer.attribution.progress import passes_bar
from neuron_explainer.errors import BudgetExceededError, EndpointError, InvalidRequestError, MisconfiguredError, shown
from neuron_explainer.explanations.clients.answer_cache import AnswerCache, key_of_request
from neuron_explainer.explanations.clients.asking import Asking, Endpoint
from neuron_explainer.explanations.clients.client import SECONDS_WITHOUT_BAR, ChatAnswer, ChatRequest, checked_requests
from neuron_explainer.explanations.clients.connection import Connection, Key, imported_openai
from neuron_explainer.explanations.clients.rate_limit import RateLimit
from neuron_explainer.explanations.clients.spending import Budget, Spending
from neuron_explainer.models.watching import current_watch, stop_if_asked
from neuron_explainer.storage.locations import is_url, without_secrets
from neuron_explainer.vocabulary.checks import checked_number, checked_text, finite_number, flag_of

_UnderWay = dict[str, asyncio.Future[ChatAnswer | None]]
_MOST_AT_ONCE = 256


class OpenAICompatibleClient:
    """Asks an endpoint that speaks OpenAI's chat completions: vLLM, llama.cpp, Ollama, LM Studio, or a hosted one.

    Answers are kept on the disk: a question that was answered once is not asked again, by whomever, and a run that was
    stopped or killed goes on where it was. Equal questions are one question; of several samples, each has its own seed.
    What an endpoint does not take (a JSON schema, log-probabilities, a seed, …) is left out after its first refusal,
    or said in words. Threads may share a client.

    The key is read from the environment when something is asked. It is in no repr, file, log or error.

    Args:
        base_url: the endpoint's address, such as "http://localhost:8000/v1" (vLLM), "http://localhost:11434/v1"
            (Ollama), "http://localhost:1234/v1" (LM Studio) or "https://api.openai.com/v1"; without a key in it.
        model: the model's name there.
        api_key_env: the name of the environment variable with the key; None: no key is sent.
        max_concurrent: how many questions may be under way at the same time.
        requests_per_minute: how many requests may be sent in a minute, evenly spread; None: any number.
        max_tokens_total: how many tokens of prompts and answers may be spent. It is looked at before each request, so
            that what is under way then may exceed it. None: any number.
        max_cost: how much may be spent, in the currency of `prices`; looked at in the same way. None: any sum.
        prices: of a million tokens of prompts, and of answers.
        timeout: the seconds that an answer may take.
        max_attempts: how often a question is asked until it is answered, where the endpoint says 429 or 5xx, is silent
            for too long, breaks off or cannot be reached. What it refuses otherwise is not asked again.
        cache: whether answers are kept in the library's cache folder; or another folder.
        pause: the seconds before the second attempt, at most; they grow twofold with each further one, and each is
            shortened by chance.
        longest_pause: the most seconds before an attempt, even if the endpoint's Retry-After asks for more.

    Attributes:
        name: the model's name.

    Raises:
        MissingPackageError: the openai package is not installed.
        InvalidRequestError: an argument is out of range, `base_url` is not an address or has a key in it, or
            `max_cost` is given without prices.
        MisconfiguredError: the environment variable is not set, or what it holds cannot be a key.

    An example:

        client = OpenAICompatibleClient("http://localhost:11434/v1", "llama3.2")
        client.ask([ChatRequest((("user", "What is 1 + 1?"),))])[0].text
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key_env: str | None = None,
        max_concurrent: SupportsIndex = 8,
        requests_per_minute: SupportsFloat | None = None,
        max_tokens_total: SupportsIndex | None = None,
        max_cost: SupportsFloat | None = None,
        prices: tuple[float, float] | None = None,
        timeout: SupportsFloat = 60.0,
        max_attempts: SupportsIndex = 6,
        cache: bool | str | os.PathLike[str] = True,
        pause: SupportsFloat = 0.5,
        longest_pause: SupportsFloat = 60.0,
    ) -> None:
        imported_openai()
        self.base_url = _checked_address(base_url)
        self.name = checked_text("model", model)
        self._api_key_env = api_key_env
        self._key()
        self.max_concurrent = checked_number("max_concurrent", max_concurrent, at_most=_MOST_AT_ONCE)
        self._timeout = _positive("timeout", timeout)
        self._endpoint = Endpoint(
            self.base_url,
            self.name,
            Budget.checked(max_tokens_total, max_cost, prices),
            RateLimit(None if requests_per_minute is None else _positive("requests_per_minute", requests_per_minute)),
            checked_number("max_attempts", max_attempts),
            _positive("pause", pause),
            _positive("longest_pause", longest_pause),
        )
        self.cache = _cache_of(cache)
        self._here: tuple[asyncio.AbstractEventLoop, asyncio.Semaphore, _UnderWay] | None = None

    @property
    def spent(self) -> Spending:
        """What this client has spent since it was made."""
        return self._endpoint.budget.spent

    def ask(self, requests: Sequence[ChatRequest], *, progress: bool | None = None) -> list[ChatAnswer]:
        """The answers, in the order of the requests.

        What is kept is not asked; equal questions are asked once, even if several threads ask them. An interrupt
        (Ctrl-C, a notebook's stop button) ends all requests that are under way; answers that had come are kept.

        Args:
            requests: the questions.
            progress: whether there is a bar; None: on a terminal or in a notebook, where it takes longer than 2 s.

        Raises:
            EndpointError: a question is refused, or not answered after the last attempt. No other question is asked
                then; what was under way is waited for. `answers` has what came.
            BudgetExceededError: what may be spent is spent; with `answers`, too.
            StoppedError: watched work is to stop.
            InvalidRequestError: these are not ChatRequests.
            MisconfiguredError: the key is not in the environment any more.
        """
        asked = checked_requests(requests)
        keys = [key_of_request(("chat completions", self.base_url, self.name), request) for request in asked]
        answers: dict[str, ChatAnswer] = {}
        missing: dict[str, ChatRequest] = {}
        for key, request in zip(keys, asked, strict=True):
            if key in answers or key in missing:
                continue
            kept = None if self.cache is None else self.cache.find(key)
            if kept is None:
                missing[key] = request
            else:
                answers[key] = kept
        try:
            self._ask_missing(missing, answers, progress)
        except (EndpointError, BudgetExceededError) as error:
            error.answers = tuple(map(answers.get, keys))
            raise
        return [answers[key] for key in keys]

    def _ask_missing(
        self, missing: Mapping[str, ChatRequest], answers: dict[str, ChatAnswer], progress: bool | None
    ) -> None:
        """Ask what is not known; answers are kept as they come."""
        if not missing:
            return
        key_of_endpoint, n_known = self._key(), len(answers)

        def take(key: str, answer: ChatAnswer) -> None:
            if self.cache is not None and not answer.is_from_cache:
                self.cache.keep(key, answer)
            answers[key] = answer

        def known(key: str) -> ChatAnswer | None:
            return None if self.cache is None else self.cache.find(key)

        async def ask_all() -> None:
            async with Connection(self.base_url, key_of_endpoint, self._timeout) as connection:
                asking = Asking(self._endpoint, connection, *self._shared_by_calls())
                await asking.ask_all(missing, self.max_concurrent, take, known)

        with passes_bar(len(missing), progress, "asking", "answer", SECONDS_WITHOUT_BAR) as tell:
            n_told = 0

            def look() -> None:
                nonlocal n_told
                stop_if_asked()
                if n_new := len(answers) - n_known - n_told:
                    tell(n_new)
                    n_told += n_new
                    if (watch := current_watch()) is not None:
                        watch.done(n_told / len(missing))

            run_coroutine(ask_all(), look)
            look()

    def _shared_by_calls(self) -> tuple[asyncio.Semaphore, _UnderWay]:
        """What limits how many questions are under way, and which are; of all threads, and of this event loop."""
        loop = asyncio.get_running_loop()
        if self._here is None or self._here[0] is not loop:
            self._here = loop, asyncio.Semaphore(self.max_concurrent), {}
        return self._here[1:]

    def _key(self) -> Key | None:
        """The key, from the environment."""
        if self._api_key_env is None:
            return None
        if not isinstance(self._api_key_env, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self._api_key_env):
            raise InvalidRequestError(  # it may be the key itself, so it is not shown
                "api_key_env is not the name of an environment variable. Put the key into one, such as OPENAI_API_KEY, "
                "and give its name."
            )
        value = os.environ.get(self._api_key_env, "").strip()
        name = self._api_key_env if self._api_key_env.isupper() else "that api_key_env names"
        if not value:
            raise MisconfiguredError(
                f"The environment variable {name} is not set. Put the key of {self.base_url} into it."
            )
        if not re.fullmatch(r"[!-~]+", value):
            raise MisconfiguredError(f"The environment variable {name} has characters that a key cannot have.")
        return Key(value)

    def __repr__(self) -> str:
        return f"OpenAICompatibleClient({self.base_url!r}, {self.name!r})"


def _checked_address(base_url: object) -> str:
    """The address of an endpoint.

    Raises:
        InvalidRequestError: it is none, or has something that may be a key.
    """
    address = checked_text("base_url", base_url).strip()
    if not re.match(r"https?:", address, re.IGNORECASE) or not is_url(address):  # "localhost:8000" has none
        raise InvalidRequestError(
            f"base_url is {shown(address)}. Give an http(s) address, such as http://localhost:8000/v1."
        )
    parts = urlsplit(address)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise InvalidRequestError(
            f"base_url has more than an address: {without_secrets(address)}. Give it without user, password and query; "
            "the key comes from the environment variable that api_key_env names."
        )
    return address.rstrip("/")


def _cache_of(given: object) -> AnswerCache | None:
    is_kept = flag_of(given)
    if is_kept is None:
        return AnswerCache(given)  # type: ignore[arg-type]  # it refuses what is not a path
    return AnswerCache.default() if is_kept else None


def _positive(name: str, value: object) -> float:
    number = finite_number(value)
    if number is None or number <= 0:
        raise InvalidRequestError(f"{name} is {shown(value)}. Give a positive number.")
    return number
