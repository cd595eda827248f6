"""What else a language model could have written at a place of its answer, by its log-probabilities."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from neuron_explainer.explanations.clients.client import ChatAnswer

_MOST_PATHS = 64


def token_starts(answer: ChatAnswer) -> list[int] | None:
    """Where the tokens of an answer begin in its text; None without log-probabilities, or where they do not fit it.

    Log-probabilities say what was likely at each token, not which token was chosen; so it is the likeliest sequence of
    those listed that gives the text.
    """
    text, steps = answer.text, answer.logprobs
    if not steps:
        return None
    paths: list[dict[int, tuple[float, int]]] = [{0: (0.0, -1)}]  # for each end: the likelihood, and the start before
    for step in steps:
        ends: dict[int, tuple[float, int]] = {}
        for start, (likelihood, _) in paths[-1].items():
            for token, logprob in step.items():
                if token and text.startswith(token, start):
                    reached = (likelihood + logprob, start)
                    if (end := start + len(token)) not in ends or ends[end] < reached:
                        ends[end] = reached
        if not ends:
            break
        paths.append(dict(sorted(ends.items(), key=lambda each: -each[1][0])[:_MOST_PATHS]))
    if not (whole := [end for end in paths[-1] if not text[end:].strip()]):
        return None
    place, starts = max(whole, key=lambda end: paths[-1][end][0]), []
    for ends in reversed(paths[1:]):
        place = ends[place][1]
        starts.append(place)
    return starts[::-1]


def could_follow(answer: ChatAnswer, starts: Sequence[int], place: int) -> dict[str, float]:
    """What could have followed at a place of an answer, up to the end of one token: texts with their probabilities.

    Args:
        answer: the answer.
        starts: where its tokens begin.
        place: the place in its text.
    """
    step = max(number for number, start in enumerate(starts) if start <= place)
    written = answer.text[starts[step] : place]
    found: dict[str, float] = {}
    for token, logprob in _listed(answer, step).items():
        if token.startswith(written) and len(token) > len(written):
            rest = token[len(written) :]
            found[rest] = found.get(rest, 0.0) + math.exp(min(0.0, logprob))
    return found


def expected_number(answer: ChatAnswer, starts: Sequence[int], place: int, highest: int) -> float | None:
    """The expected value of a whole number at a place: of those from 0 to the highest, by what else was likely.

    Where the tokens are single digits, what may follow the first is taken from the next token, if that digit was
    written; else the digit is the number. None where no number is likely.

    >>> import math
    >>> answer = ChatAnswer("[8]", logprobs=({"[": 0.0}, {"8": math.log(0.75), "4": math.log(0.25)}, {"]": 0.0}))
    >>> expected_number(answer, token_starts(answer), 1, 10)
    7.0
    """
    total = weighted = 0.0
    for text, probability in could_follow(answer, starts, place).items():
        if not (digits := re.match(r"\s*([0-9]{1,3})", text)):
            continue
        number = int(digits[1])
        if digits.end() == len(text) and place + digits.end() in starts and answer.text.startswith(text, place):
            following = (
                could_follow(answer, starts, after) if (after := place + digits.end()) < len(answer.text) else {}
            )
            longer = {more: int(digits[1] + more[0]) for more in following if re.match(r"[0-9]", more)}
            shares = {more: following[more] for more, value in longer.items() if value <= highest}
            total += probability * sum(shares.values())
            weighted += probability * sum(share * longer[more] for more, share in shares.items())
            probability *= max(0.0, 1.0 - sum(shares.values()))
        if number <= highest:
            total, weighted = total + probability, weighted + probability * number
    return weighted / total if total > 0 else None


def likelihood_of(answer: ChatAnswer, starts: Sequence[int], place: int, one: str, other: str) -> float | None:
    """The probability of one word against another at a place; None where neither is likely.

    Args:
        answer: the answer.
        starts: where its tokens begin.
        place: the place in its text.
        one, other: the words; a beginning of one counts for it.
    """
    shares = {one: 0.0, other: 0.0}
    for text, probability in could_follow(answer, starts, place).items():
        for word in shares:
            if text.startswith(word) or word.startswith(text):
                shares[word] += probability
    total = sum(shares.values())
    return shares[one] / total if total > 0 else None


def _listed(answer: ChatAnswer, step: int) -> Mapping[str, float]:
    return answer.logprobs[step] if answer.logprobs is not None else {}
