"""Losses, where a backward pass starts: one by name, of the last token's logits, or any function of the logits."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, SupportsIndex, cast

from neuron_explainer.activations.derived_scalars.index_fields import JsonForm
from neuron_explainer.errors import MisconfiguredError, UnknownNameError
from neuron_explainer.vocabulary.checks import whole_number
from neuron_explainer.vocabulary.named_members import NamedMembers, member_of

if TYPE_CHECKING:
    from torch import Tensor

EXAMPLE_OF_A_LOSS = 'ne.LossFnConfig("logit_diff", [" Moses"], [" her"])'
"""A loss as messages show it."""

LossFunction = Callable[["Tensor"], "Tensor"]
"""Takes the logits of one prompt, (tokens, vocabulary), and returns one number as a tensor."""


class LossFnName(NamedMembers):
    """The losses that have a name. All look at the last token's logits."""

    LOGIT_DIFF = "logit_diff"
    """The mean of the target tokens' logits, minus the mean of the distractors' if there are any."""
    LOGIT_MINUS_MEAN = "logit_minus_mean"
    """The mean of the target tokens' logits minus the mean of all logits."""
    PROBS = "probs"
    """The sum of the target tokens' probabilities."""
    ZERO = "zero"
    """0: for a backward pass in which only ablations write gradients."""


@dataclass(frozen=True, repr=False)
class LossFnConfig(JsonForm):
    """A loss by name, with its tokens.

    Attributes:
        name: the loss: a LossFnName, its name or its value.
        target_tokens: one token or several, each as text that is exactly one token (mind leading spaces), or as id.
        distractor_tokens: for LOGIT_DIFF (only), the tokens to compare the targets with.

    Raises:
        MisconfiguredError: the loss does not exist, or does not go with these tokens.

    >>> LossFnConfig("logit_diff", [" cat"], [" dog"]).name
    <LossFnName.LOGIT_DIFF: 'logit_diff'>
    """

    name: LossFnName
    target_tokens: Sequence[str | int] = field(default=())
    distractor_tokens: Sequence[str | int] | None = None

    if TYPE_CHECKING:  # names of members, and NumPy and torch integers, are taken as well

        def __init__(
            self,
            name: LossFnName | str,
            target_tokens: Sequence[str | SupportsIndex] | SupportsIndex | None = (),
            distractor_tokens: Sequence[str | SupportsIndex] | SupportsIndex | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "name", member_of(LossFnName, self.name, "loss"))
        except UnknownNameError as error:
            raise MisconfiguredError(str(error)) from None
        for which in ("target_tokens", "distractor_tokens"):
            tokens = getattr(self, which)
            if isinstance(tokens, str):
                raise MisconfiguredError(f"{which} is the text {tokens!r}. Give a list of tokens: [{tokens!r}].")
            object.__setattr__(self, which, _checked_tokens(which, tokens))
        if self.name is LossFnName.ZERO:
            if self.target_tokens or self.distractor_tokens:
                raise MisconfiguredError("The loss zero takes no tokens: give neither targets nor distractors.")
        elif not self.target_tokens:
            raise MisconfiguredError(f"The loss {self.name.value} needs at least one target token.")
        if self.distractor_tokens and self.name is not LossFnName.LOGIT_DIFF:
            raise MisconfiguredError(
                f"Only {LossFnName.LOGIT_DIFF.value} has distractor tokens, not {self.name.value}. It was given "
                f"{list(self.distractor_tokens)}."
            )


def _checked_tokens(which: str, tokens: object) -> tuple[str | int, ...]:
    """Tokens as texts and plain ints; one id alone is taken as well."""
    if tokens is None:
        return ()
    checked: list[str | int] = []
    for token in tokens if isinstance(tokens, Iterable) and whole_number(tokens) is None else (tokens,):
        number = whole_number(token)
        if not isinstance(token, str) and number is None:
            raise MisconfiguredError(f"{which} holds {token!r}. Give each token as its text or its id.")
        checked.append(token if isinstance(token, str) else cast("int", number))
    return tuple(checked)


def last_token_loss(name: LossFnName, logits: "Tensor", targets: "Tensor", distractors: "Tensor") -> "Tensor":
    """The loss of each prompt.

    Args:
        name: the loss.
        logits: the last token's logits, (prompts, vocabulary).
        targets: token ids: (targets,), the same for all prompts; or (prompts, targets), in which -1 stands for none.
        distractors: token ids, in the same form; there may be none.

    Returns:
        (prompts,)
    """
    if name is LossFnName.ZERO:
        return (logits * 0).sum(-1)
    if name is LossFnName.PROBS:
        return _sum_and_count(logits.softmax(-1), targets)[0]
    total, count = _sum_and_count(logits, targets)
    mean = total / count
    if name is LossFnName.LOGIT_MINUS_MEAN:
        return mean - logits.mean(-1)
    if distractors.shape[-1] == 0:
        return mean
    total, count = _sum_and_count(logits, distractors)
    return mean - total / count.clamp(min=1)


def _sum_and_count(values: "Tensor", tokens: "Tensor") -> tuple["Tensor", "Tensor"]:
    """The sum over each prompt's tokens, and how many they are."""
    is_token = tokens >= 0
    picked = values.gather(-1, tokens.clamp(min=0).expand(len(values), -1))
    return picked.masked_fill(~is_token, 0).sum(-1), is_token.sum(-1)
