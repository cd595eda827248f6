"""Runs that are stopped: by Ctrl-C, by a widget, by a cap, by kill -9. What had come is not asked for again."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from helpers.asking_clients import client_of, question, questions
from helpers.scripted_endpoint import rubbish, said, scripted_endpoint, stalled
from neuron_explainer.activation_server.event_loop import _background_loop
from neuron_explainer.errors import BudgetExceededError, StoppedError
from neuron_explainer.explanations.clients.rate_limit import RateLimit
from neuron_explainer.explanations.clients.spending import Budget
from neuron_explainer.models.watching import watched_passes

_KILLED = """
import sys
from neuron_explainer.explanations import ChatRequest, OpenAICompatibleClient
address, cache, n = sys.argv[1:]
client = OpenAICompatibleClient(address, "a-model", cache=cache, max_concurrent=2)
client.ask([ChatRequest((("user", f"question {each}"),)) for each in range(int(n))])
"""


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path):
    number, at_once = 40, 2
    with scripted_endpoint(lambda asked: asked.last.upper()) as endpoint:
        endpoint.seconds = 0.02
        command = [sys.executable, "-c", _KILLED, endpoint.base_url, str(tmp_path), str(number)]
        with subprocess.Popen(command) as process:
            endpoint.wait_for_questions(14, seconds=60)
            process.send_signal(signal.SIGKILL)
        time.sleep(0.1)
        before = set(endpoint.answered)
        assert 10 <= len(before) < number
        kept = len(list(tmp_path.glob("*/*.json")))
        assert kept >= len(before) - at_once  # all but those that were on their way
        endpoint.seconds = 0
        answers = client_of(endpoint, tmp_path).ask(questions(number))
        assert [answer.text for answer in answers] == [f"QUESTION {each}" for each in range(number)]
        assert sum(answer.is_from_cache for answer in answers) == kept
        n_asked = len(endpoint.answered)
        assert n_asked - number <= at_once
        client_of(endpoint, tmp_path).ask(questions(number))
        assert len(endpoint.answered) == n_asked


def _nothing_runs() -> bool:
    return not asyncio.all_tasks(_background_loop())


def test_an_interrupt_leaves_nothing_running_and_keeps_what_came(tmp_path: Path):
    with scripted_endpoint() as endpoint:
        endpoint.script = [said("1"), said("2"), *[stalled] * 8]

        def press_ctrl_c() -> None:
            endpoint.wait_for_questions(6)
            os.kill(os.getpid(), signal.SIGINT)

        presser = threading.Thread(target=press_ctrl_c)
        presser.start()
        with pytest.raises(KeyboardInterrupt):
            client_of(endpoint, tmp_path, max_concurrent=4, timeout=60).ask(questions(8))
        presser.join()
        assert _nothing_runs()
        endpoint.script = []
        answers = client_of(endpoint, tmp_path).ask(questions(8))
    assert sum(answer.is_from_cache for answer in answers) == 2


def test_watched_work_is_stopped_and_told_how_far_it_is(tmp_path: Path):
    stop = threading.Event()
    told: list[float] = []
    with scripted_endpoint() as endpoint:
        with watched_passes(told.append):
            client_of(endpoint, tmp_path).ask(questions(4))
        assert told[-1] == 1.0
        assert told == sorted(told)
        endpoint.script = [stalled]

        def press_stop() -> None:
            endpoint.wait_for_questions(5)
            stop.set()

        presser = threading.Thread(target=press_stop)
        presser.start()
        with watched_passes(stop=stop), pytest.raises(StoppedError):
            client_of(endpoint, tmp_path, timeout=60).ask([question("another")])
        presser.join()
        assert _nothing_runs()


def test_a_cap_of_tokens_ends_a_run_and_its_answers_are_kept(tmp_path: Path):
    with scripted_endpoint(lambda asked: asked.last.upper()) as endpoint:
        client = client_of(endpoint, tmp_path, max_concurrent=1, max_tokens_total=40)  # an answer takes 15
        with pytest.raises(BudgetExceededError) as caught:
            client.ask(questions(9))
        assert len(endpoint.questions) == 3
        again = client_of(endpoint, tmp_path).ask(questions(9))
    error = caught.value
    assert (error.cap, error.spent, error.limit) == ("max_tokens_total", 45, 40)
    assert "45 is spent: 3 requests and 3 answers, with 30 tokens of prompts and 15 of answers" in str(error)
    assert [answer.text for answer in error.answers if answer] == ["QUESTION 0", "QUESTION 1", "QUESTION 2"]
    assert [answer.is_from_cache for answer in again] == [True] * 3 + [False] * 6


def test_a_cap_of_cost_counts_by_the_prices():
    with scripted_endpoint() as endpoint:
        client = client_of(endpoint, max_concurrent=1, max_cost=0.005, prices=(100.0, 200.0))  # an answer: 0.002
        with pytest.raises(BudgetExceededError, match=r"max_cost is 0.005, and 0.006.* which cost 0.006"):
            client.ask(questions(9))
        assert len(endpoint.questions) == 3
        assert client.spent.cost == pytest.approx(3 * (10 * 100 + 5 * 200) / 1e6)


def test_a_cap_counts_bytes_where_the_endpoint_does_not_say_tokens():
    with scripted_endpoint() as endpoint:
        endpoint.script = [said("x" * 30, tokens=None)] * 5
        with pytest.raises(BudgetExceededError):
            client_of(endpoint, max_concurrent=1, max_tokens_total=25).ask(questions(5))
        assert len(endpoint.questions) == 2  # 4 + 10 tokens each


def test_a_cap_counts_what_came_and_was_no_answer():
    with scripted_endpoint() as endpoint:
        endpoint.script = [rubbish(b"<html>" * 10)] * 9
        with pytest.raises(BudgetExceededError):
            client_of(endpoint, max_attempts=9, max_tokens_total=50).ask([question("what?")])
        assert len(endpoint.questions) == 3  # 2 + 20 tokens each


def test_a_budget_is_checked_before_a_request():
    budget = Budget.checked(None, None, None)
    budget.check()
    assert str(budget.spent) == "0 requests and 0 answers, with 0 tokens of prompts and 0 of answers"


def test_a_rate_limit_spreads_requests_by_the_clock():
    now = 0.0
    limit = RateLimit(120, lambda: now)
    assert [limit.seconds_to_wait() for _ in range(3)] == [0.0, 0.5, 0.5]  # who only waits has taken no turn
    now = 0.5
    assert [limit.seconds_to_wait() for _ in range(2)] == [0.0, 0.5]
    now = 10.0
    assert [limit.seconds_to_wait() for _ in range(2)] == [0.0, 0.5]  # time that nobody used is not saved
    limit.hold(7)
    assert limit.seconds_to_wait() == 7
    unlimited = RateLimit(None, lambda: now)
    assert [unlimited.seconds_to_wait() for _ in range(3)] == [0, 0, 0]


def test_a_client_keeps_to_its_rate_whoever_asks():
    with scripted_endpoint() as endpoint:
        client = client_of(endpoint, requests_per_minute=60 / 0.03)
        began = time.monotonic()
        threads = [threading.Thread(target=client.ask, args=([question(f"{each}")],)) for each in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - began >= 3 * 0.03
        assert len(endpoint.answered) == 4


def test_threads_share_what_is_allowed_at_once():
    with scripted_endpoint() as endpoint:
        endpoint.seconds = 0.05
        client = client_of(endpoint, max_concurrent=2)
        threads = [threading.Thread(target=client.ask, args=([question(f"{each}")],)) for each in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert endpoint.most_at_once == 2
        assert client.spent.n_answers == 6


def test_turns_that_a_stopped_run_waited_for_are_free():
    stop = threading.Event()
    with scripted_endpoint() as endpoint:
        client = client_of(endpoint, requests_per_minute=60, timeout=60)  # one in a second

        def press_stop() -> None:
            endpoint.wait_for_questions(1)
            stop.set()

        presser = threading.Thread(target=press_stop)
        presser.start()
        with watched_passes(stop=stop), pytest.raises(StoppedError):
            client.ask(questions(200))
        presser.join()
        assert client._endpoint.rate_limit.seconds_to_wait() <= 1


@pytest.mark.parametrize("is_kept", [True, False])
def test_threads_that_ask_the_same_ask_it_once(tmp_path: Path, is_kept: bool):
    answers: dict[int, list[str]] = {}
    with scripted_endpoint(lambda asked: asked.last.upper()) as endpoint:
        endpoint.script = [stalled]
        client = client_of(endpoint, tmp_path if is_kept else False, max_concurrent=3, timeout=0.5)
        all_begin = threading.Barrier(16)

        def ask(number: int) -> None:
            all_begin.wait()
            answers[number] = [answer.text for answer in client.ask(questions(3))]

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(endpoint.answered) == [f"question {number}" for number in range(3)]
        assert client.spent.n_answers == 3
    assert list(answers.values()) == [[f"QUESTION {number}" for number in range(3)]] * 16


def test_who_waits_for_anothers_answer_asks_where_there_is_none():
    stop = threading.Event()
    with scripted_endpoint() as endpoint:
        endpoint.script = [stalled]
        client = client_of(endpoint, timeout=60)

        def ask_and_be_stopped() -> None:
            with watched_passes(stop=stop), pytest.raises(StoppedError):
                client.ask(questions(1))

        def press_stop() -> None:
            time.sleep(0.1)
            stop.set()

        threads = [threading.Thread(target=ask_and_be_stopped), threading.Thread(target=press_stop)]
        threads[0].start()
        endpoint.wait_for_questions(1)
        threads[1].start()
        assert client.ask(questions(1))[0].text == "Yes."
        for thread in threads:
            thread.join()
        assert len(endpoint.questions) == 2
        assert _nothing_runs()


def test_a_cap_counts_bytes_where_the_endpoint_says_that_nothing_was_read():
    with scripted_endpoint() as endpoint:
        endpoint.script = [said("x" * 30, tokens=(0, 0))] * 5
        with pytest.raises(BudgetExceededError):
            client_of(endpoint, max_concurrent=1, max_tokens_total=25).ask(questions(5))
        assert len(endpoint.questions) == 2
