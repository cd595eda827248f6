"""Pairs of prompts with their answers, as experiments make them: what has `clean`, `target` and `distractor`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from neuron_explainer.attribution.question.metrics import METRICS_OF_TARGETS, Metric
from neuron_explainer.errors import InvalidRequestError, MisconfiguredError, shown
from neuron_explainer.vocabulary.named_members import member_of


class PairGiven(Protocol):
    """A clean prompt with its answer and another one."""

    @property
    def clean(self) -> str:
        """The prompt."""

    @property
    def target(self) -> Any:
        """Its answer."""

    @property
    def distractor(self) -> Any:
        """What the answer is compared with."""


_PARTS = ("clean", "target", "distractor")


def is_pair(given: object) -> bool:
    """Whether it is a pair of prompts: it has a clean prompt, a target and a distractor."""
    return all(hasattr(given, part) for part in _PARTS)


def clean_prompts_of(given: Any, target: Any, distractor: Any, metric: Any) -> tuple[Any, Any, Any]:
    """The clean prompts of pairs, with a target and a distractor for each; of all else, what was given.

    Args:
        given: prompts as `attribute` takes them; or a pair, or several.
        target, distractor, metric: what was given beside them. A function of the logits or a LossFnConfig takes the
            answers' place.

    Raises:
        MisconfiguredError: pairs have their own answers, and others are given.
        InvalidRequestError: some entries are pairs and others are not.
    """
    pairs = pairs_given(given)
    if pairs is None:
        return given, target, distractor
    if target is not None or distractor is not None:
        raise MisconfiguredError("Pairs of prompts have their own target and distractor. Leave these out.")
    prompts = [pair.clean for pair in pairs]
    if metric is None or isinstance(metric, str):  # LossFnConfigs and functions have their own tokens
        target = [pair.target for pair in pairs]
        if metric is None or member_of(Metric, metric, "metric") not in METRICS_OF_TARGETS:
            distractor = [pair.distractor for pair in pairs]
    if is_pair(given):
        return prompts[0], target and target[0], distractor and distractor[0]
    return prompts, target, distractor


def pairs_given(given: Any) -> list[Any] | None:
    """The pairs that are given, one or several; None if it is something else: a text, messages, token ids, prompts.

    Raises:
        InvalidRequestError: the first entry is a pair, and others are not.
    """
    if is_pair(given):
        return [given]
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable) or hasattr(given, "ndim"):
        return None
    if not is_pair(next(iter(given), None)):
        return None
    pairs = list(given)
    others = [each for each in pairs if not is_pair(each)]
    if others:
        raise InvalidRequestError(f"The pairs of prompts hold {shown(others[0])}. Give pairs alone, or prompts alone.")
    return pairs
