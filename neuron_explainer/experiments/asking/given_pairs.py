"""The pairs of prompts that a caller gives: one, or several in any of their forms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from neuron_explainer.errors import InvalidRequestError, PromptError, shown
from neuron_explainer.experiments.asking.two_prompts import PairMetric, TwoPrompts, read_two_prompts
from neuron_explainer.models.chats.messages import is_text_or_chat
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.vocabulary.checks import is_several, whole_number
from neuron_explainer.wording import counted


@dataclass(frozen=True)
class GivenPairs:
    """Pairs of prompts, read and checked; `is_one` where a single one was given, and not a list of one."""

    pairs: tuple[TwoPrompts, ...]
    is_one: bool


def read_given_pairs(
    model: ModelContext, clean: Any, corrupted: Any, metric: Any, positions: Any, prepend_bos: bool | None
) -> GivenPairs:
    """The pairs, read and checked.

    Args:
        model: the model.
        clean: a prompt; or an object with the attributes `clean` and `corrupted`, and its answers as `target` and
            `distractor`; or several of either.
        corrupted: the other prompt, or a list of as many; None where pairs have their own.
        metric: as for `read_two_prompts`; for several pairs one for all, or a list of one each. None: that of the
            pairs' answers.
        positions, prepend_bos: as for `read_two_prompts`.

    Raises:
        InvalidRequestError: an argument is missing, or lists are not of the same length; and as `read_two_prompts`.
        PromptError, ChatTemplateError, MisconfiguredError: as `read_two_prompts`.
    """
    given = _as_list(clean)
    if given is None and _is_pair(clean):
        answers = tuple(metric) if isinstance(metric, list) else metric
        ((one, other, of_pair),) = _triples([clean], corrupted, answers)
        return GivenPairs((read_two_prompts(model, one, other, of_pair, positions, prepend_bos),), is_one=True)
    if given is None:
        for name, value in (("corrupted", corrupted), ("metric", metric)):
            if value is None:
                raise InvalidRequestError(
                    f'{name} is missing. Give a clean prompt, a corrupted one and a metric, such as (" Mary", " John").'
                )
        return GivenPairs((read_two_prompts(model, clean, corrupted, metric, positions, prepend_bos),), is_one=True)
    if not given:
        raise InvalidRequestError("No pair of prompts is given. Give at least one.")
    pairs = []
    for number, (one, other, of_pair) in enumerate(_triples(given, corrupted, metric)):
        try:
            pairs.append(read_two_prompts(model, one, other, of_pair, positions, prepend_bos))
        except PromptError as error:
            raise PromptError(f"Pair {number}: {error}") from error
        except InvalidRequestError as error:
            raise InvalidRequestError(f"Pair {number}: {error}") from error
    return GivenPairs(tuple(pairs), is_one=False)


def _as_list(clean: Any) -> list[Any] | None:
    """Several pairs as a list; None of one prompt: a text, messages or token ids."""
    if isinstance(clean, Tensor) or is_text_or_chat(clean) or not is_several(clean):
        return None
    several = list(clean)
    return None if several and whole_number(several[0]) is not None else several


def _triples(given: Sequence[Any], corrupted: Any, metric: Any) -> list[tuple[Any, Any, PairMetric]]:
    """Each pair's clean prompt, corrupted prompt and metric."""
    are_objects = _is_pair(given[0])
    others_given = [each for each in given if _is_pair(each) is not are_objects]
    if others_given:
        raise InvalidRequestError(
            f"The prompts hold {shown(others_given[0])}, too. Give pairs alone, or prompts alone."
        )
    metrics = list(metric) if isinstance(metric, list) else [metric] * len(given)
    if are_objects and corrupted is not None:
        raise InvalidRequestError("The pairs have corrupted prompts of their own. Leave corrupted out.")
    others = [_corrupted_of(each) for each in given] if are_objects else _as_list(corrupted)
    for name, several in (("corrupted", others), ("metric", metrics)):
        if several is None:
            found = "missing" if corrupted is None else shown(corrupted)
            raise InvalidRequestError(
                f"clean is a list of {counted(len(given), 'prompt')}, and {name} is {found}. Give a list of as many, "
                "or pairs, such as ne.PromptPair(clean, corrupted, target, distractor)."
            )
        if len(several) != len(given):
            raise InvalidRequestError(
                f"{counted(len(given), 'clean prompt')} and {len(several)} of {name} are given. Give as many of each."
            )
    assert others is not None
    if are_objects:
        metrics = [_metric_of(pair) if own is None else own for pair, own in zip(given, metrics, strict=True)]
    if None in metrics:
        raise InvalidRequestError('metric is missing. Give one for all pairs, such as (" Mary", " John"), or a list.')
    return [
        (each.clean if are_objects else each, other, own)
        for each, other, own in zip(given, others, metrics, strict=True)
    ]


def _is_pair(given: object) -> bool:
    """Whether it has a clean prompt of its own, and so should have the rest."""
    return hasattr(given, "clean")


def _corrupted_of(pair: Any) -> Any:
    if not hasattr(pair, "corrupted"):
        raise InvalidRequestError(f"{shown(pair)} has no corrupted prompt. Give pairs that have one.")
    return pair.corrupted


def _metric_of(pair: Any) -> tuple[Any, Any]:
    """The two answers of a pair that has its own."""
    answers = getattr(pair, "target", None), getattr(pair, "distractor", None)
    if None in answers:
        raise InvalidRequestError(f"{shown(pair)} has no target and distractor. Give a metric.")
    return answers


def check_aligned(pairs: Sequence[TwoPrompts], axes: Sequence[str]) -> None:
    """Refuse pairs of different lengths where positions are told apart.

    Raises:
        PromptError: they are.
    """
    lengths = [len(pair.clean.token_ids) for pair in pairs]
    if "position" in axes and len(set(lengths)) > 1:
        other = next(number for number, length in enumerate(lengths) if length != lengths[0])
        raise PromptError(
            f"Pair 0 has {lengths[0]} tokens and pair {other} has {lengths[other]}, so their positions are not the "
            "same. Give pairs of as many tokens (ne.prompt_pairs has same_positions=True), or leave "
            '"position" out of by.'
        )
