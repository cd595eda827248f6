"""The metrics that a question can be about: what one number says of the logits at some positions."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from neuron_explainer.activations.derived_scalars.loss import LossFnName, last_token_loss
from neuron_explainer.vocabulary.named_members import NamedMembers


class Metric(NamedMembers):
    """The metrics that have a name. With several positions a metric is its mean over them.

    The first three are those of LossFnName.
    """

    LOGIT_DIFF = "logit_diff"
    """The mean of the targets' logits, minus the mean of the distractors' if there are any."""
    LOGIT_MINUS_MEAN = "logit_minus_mean"
    """The mean of the targets' logits, minus the mean of all logits."""
    PROBS = "probs"
    """The sum of the targets' probabilities."""
    LOG_PROBABILITY = "log_probability"
    """The mean of the answers' log-probabilities, minus that of the distractors' if there are any. An answer may be
    several tokens: its log-probability is the sum of theirs, each given those before it."""

    @property
    def is_linear(self) -> bool:
        """Whether it is linear in the logits."""
        return self in (Metric.LOGIT_DIFF, Metric.LOGIT_MINUS_MEAN)


METRICS_OF_TARGETS = (Metric.LOGIT_MINUS_MEAN, Metric.PROBS)
"""Those that take no distractor."""


def metric_of_tokens(metric: Metric, targets: Sequence[int], distractors: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """A metric of single tokens, as a function of the logits (positions, vocabulary)."""

    def measure(logits: Tensor) -> Tensor:
        own_targets, own_distractors = (
            torch.tensor(list(tokens), dtype=torch.int64, device=logits.device) for tokens in (targets, distractors)
        )
        if metric is Metric.LOG_PROBABILITY:
            return last_token_loss(LossFnName.LOGIT_DIFF, logits.log_softmax(-1), own_targets, own_distractors).mean()
        return last_token_loss(LossFnName(metric.value), logits, own_targets, own_distractors).mean()

    return measure


def log_probability_of(answer: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """The log-probability of an answer, as a function of the logits at the positions that predict its tokens."""

    def measure(logits: Tensor) -> Tensor:
        tokens = torch.tensor(list(answer), dtype=torch.int64, device=logits.device)
        return logits.log_softmax(-1).gather(-1, tokens[:, None]).sum()

    return measure


def first_against_second(logits: Tensor) -> Tensor:
    """The largest logit minus the second largest, of one position."""
    largest = logits[-1].topk(min(2, logits.shape[-1])).values
    return largest[0] - largest[-1]
