"""What a backward pass from the logits starts from: a loss of the last token's logits, or any function of them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from numbers import Integral
from typing import TYPE_CHECKING

from neuron_explainer.activations.derived_scalars.index_fields import JsonForm
from neuron_explainer.errors import MisconfiguredError

if TYPE_CHECKING:
    from torch import Tensor

LossFunction = Callable[["Tensor"], "Tensor"]
"""Takes the logits of one prompt, (tokens, vocabulary), and gives one number to differentiate."""


class LossFnName(StrEnum):
    """The losses that can be asked for by name; all look at the last token's logits."""

    LOGIT_DIFF = "logit_diff"
    """The mean of the target tokens' logits minus the mean of the distractors'; without distractors, the former."""
    LOGIT_MINUS_MEAN = "logit_minus_mean"
    """The mean of the target tokens' logits minus the mean of all logits."""
    PROBS = "probs"
    """The sum of the target tokens' probabilities."""
    ZERO = "zero"
    """0: for a backward pass whose gradients come from ablations of gradients alone."""


@dataclass(frozen=True)
class LossFnConfig(JsonForm):
    """A loss by name, with the tokens that it is about.

    Attributes:
        name: which loss; its value will do as well.
        target_tokens: tokens, each as text that is exactly one token of the model (mind leading spaces), or as id.
        distractor_tokens: what LOGIT_DIFF holds against the targets; for the others, none.

    Raises:
        MisconfiguredError: the tokens are not those that the loss needs.
    """

    name: LossFnName
    target_tokens: Sequence[str | int] = field(default=())
    distractor_tokens: Sequence[str | int] | None = None

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "name", LossFnName(self.name))
        except ValueError:
            raise MisconfiguredError(f"There is no loss {self.name!r}; there is: {', '.join(LossFnName)}.") from None
        for which in ("target_tokens", "distractor_tokens"):
            tokens = getattr(self, which)
            if isinstance(tokens, str):
                raise MisconfiguredError(f"{which} is the text {tokens!r}; give a list of tokens: [{tokens!r}].")
            tokens = tuple(tokens or ()) if tokens is None or isinstance(tokens, Iterable) else (tokens,)
            for token in tokens:
                if not isinstance(token, str | Integral) or isinstance(token, bool):
                    raise MisconfiguredError(f"{which} holds {token!r}; a token is given as its text or as its id.")
            object.__setattr__(self, which, tuple(token if isinstance(token, str) else int(token) for token in tokens))
        if self.name is LossFnName.ZERO:
            if self.target_tokens or self.distractor_tokens:
                raise MisconfiguredError("The loss ZERO is about no tokens: give no targets and no distractors.")
        elif not self.target_tokens:
            raise MisconfiguredError(f"The loss {self.name.value} needs at least one target token.")
        if self.distractor_tokens and self.name is not LossFnName.LOGIT_DIFF:
            raise MisconfiguredError(
                f"Only {LossFnName.LOGIT_DIFF.value} has distractor tokens; {self.name.value} was given "
                f"{list(self.distractor_tokens)}."
            )


def last_token_loss(name: LossFnName, logits: "Tensor", targets: "Tensor", distractors: "Tensor") -> "Tensor":
    """The loss of each prompt.

    Args:
        name: which loss.
        logits: the last token's, (prompts, vocabulary).
        targets: token ids, (targets,).
        distractors: token ids, (distractors,); may be empty.

    Returns:
        (prompts,)
    """
    if name is LossFnName.ZERO:
        return (logits * 0).sum(-1)
    of_targets = logits.softmax(-1) if name is LossFnName.PROBS else logits
    of_targets = of_targets.index_select(-1, targets)
    if name is LossFnName.PROBS:
        return of_targets.sum(-1)
    mean = of_targets.mean(-1)
    if name is LossFnName.LOGIT_MINUS_MEAN:
        return mean - logits.mean(-1)
    return mean if len(distractors) == 0 else mean - logits.index_select(-1, distractors).mean(-1)
