"""A clean and a corrupted prompt of as many tokens, and the metric that tells them apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine.prompts import Prompt, read_prompt
from neuron_explainer.activations.derived_scalars.loss import LossFnConfig
from neuron_explainer.activations.derived_scalars.losses.bound_loss import one_number
from neuron_explainer.attribution.question.metrics import Metric
from neuron_explainer.attribution.question.positions import PositionsGiven
from neuron_explainer.attribution.question.question import PromptGiven, Question, read_question
from neuron_explainer.attribution.question.second_prompts import prepend_bos_as_in
from neuron_explainer.errors import InvalidRequestError, PromptError, shown
from neuron_explainer.models.layers.logit_positions import LogitsAt
from neuron_explainer.models.layers.norms import at_least_float32
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.models.transformer import Transformer

PairMetric = LossFnConfig | Callable[[Tensor], Tensor] | tuple[Any, Any] | Sequence[Any]
"""Two answers, of which the first is the clean prompt's; a LossFnConfig; or a function of the logits."""

_FEWEST_DIGITS = 1e-6
"""Of the metric's size: a difference below it is rounding."""


@dataclass(frozen=True)
class TwoPrompts:
    """A clean and a corrupted prompt, and what is read from the logits of both.

    Attributes:
        clean, corrupted: their tokens, as many of each.
        question: the question about the clean prompt, which has the metric, its title and the answers.
    """

    clean: Prompt
    corrupted: Prompt
    question: Question

    @property
    def title(self) -> str:
        """What the metric is, in words."""
        return self.question.title

    @property
    def positions(self) -> tuple[int, ...]:
        """Where the logits are read, ascending."""
        places = self.question.readings[0].positions
        return tuple(range(len(self.clean.token_ids))) if places is None else places

    def token_ids(self, device: torch.device) -> Tensor:
        """Both prompts as a batch, (2, tokens): the clean one, then the corrupted one."""
        return torch.tensor([self.clean.token_ids, self.corrupted.token_ids], dtype=torch.int64, device=device)

    def measured(self, logits: Float[Tensor, "positions vocab"]) -> Float[Tensor, ""]:
        """The metric of one prompt, of its logits at `positions`; it can be differentiated where gradients are on.

        Raises:
            InvalidRequestError: the metric is a function that does not return one number.
        """
        if not torch.is_grad_enabled():
            # A caller's recording of gradients makes a graph of every pass; here nobody differentiates it.
            logits = logits.detach()
        return one_number(self.question.readings[0].function, at_least_float32(logits), "metric")

    def logits_at(self, n_rows: int) -> LogitsAt:
        """Where the logits of so many rows are computed: at one position, or at all where several are read."""
        if len(self.positions) > 1:
            return "all"
        return torch.full((n_rows,), self.positions[0], dtype=torch.int64, device="cpu")

    def logits_of_row(self, model: Transformer) -> int:
        """How many logits a row has there."""
        return model.config.vocab_size * (1 if len(self.positions) == 1 else len(self.clean.token_ids))

    def measured_rows(self, logits: Float[Tensor, "rows some_positions vocab"]) -> Float[Tensor, " rows"]:
        """The metric of each row's logits, at `positions` alone or at all. Errors are those of `measured`."""
        if logits.shape[1] > len(self.positions):
            logits = logits[:, list(self.positions)]
        return torch.stack([self.measured(row) for row in logits])

    def check_differs(self, clean: float, corrupted: float) -> None:
        """Refuse two runs with the same metric: nothing could be restored.

        Args:
            clean, corrupted: the metric of each.

        Raises:
            InvalidRequestError: they are the same, or one of them is not finite.
        """
        difference = abs(clean - corrupted)
        if not difference > _FEWEST_DIGITS * max(abs(clean), abs(corrupted)):
            raise InvalidRequestError(
                f"The metric ({self.title}) is {clean:.6g} on the clean prompt and {corrupted:.6g} on the corrupted "
                "one, so the two are not told apart by it. Choose another metric, or prompts that differ in it."
            )


def title_of_pairs(pairs: Sequence[TwoPrompts]) -> str:
    """What the metric of several pairs is, in words."""
    titles = {pair.title for pair in pairs}
    if len(titles) == 1:
        return titles.pop()
    have_answers = all(pair.question.targets and pair.question.distractors for pair in pairs)
    return "logit of the target minus that of the distractor" if have_answers else "the metric of each pair"


def read_two_prompts(
    model: ModelContext,
    clean: PromptGiven,
    corrupted: PromptGiven,
    metric: PairMetric,
    positions: PositionsGiven = None,
    prepend_bos: bool | None = None,
) -> TwoPrompts:
    """Two prompts and a metric, read and checked.

    Args:
        model: the model.
        clean, corrupted: texts, messages or token ids. A second text begins as the first one does.
        metric: two answers, each one token as text or id, or several alternatives: the first is the clean prompt's, and
            the metric is the difference of their logits. Or a LossFnConfig, or a function of the logits at `positions`
            (positions, vocabulary) that gives one number.
        positions: where the metric is taken; None: at the last token, and for a function at all.
        prepend_bos: for texts, whether their tokens begin with the beginning-of-sequence token; None: as the model's
            tokenizer does.

    Raises:
        PromptError: a prompt is malformed, or the two have different numbers of tokens; both are shown, side by side.
        ChatTemplateError: the model's chat template is missing, or cannot write the messages.
        InvalidRequestError: the metric or a position is invalid, or an answer is several tokens.
        MisconfiguredError: the LossFnConfig does not go with its tokens.
    """
    target, distractor, named = _read_metric(metric)
    question = read_question(model, clean, target, distractor, named, positions, prepend_bos)
    several = [shown(answer.text) for answer in question.answers if not answer.is_one_token]
    if several:
        raise InvalidRequestError(
            f"{several[0]} is several tokens. Runs are compared by single tokens: give its first one, or a function of "
            "the logits."
        )
    begins = prepend_bos_as_in(question.prompt, model, corrupted) if prepend_bos is None else prepend_bos
    second = read_prompt(model, corrupted, begins)
    if len(second.token_ids) != len(question.prompt.token_ids):
        raise PromptError(_different_lengths(question.prompt, second))
    if second.token_ids == question.prompt.token_ids:
        raise PromptError("The clean and the corrupted prompt have the same tokens. Give two prompts that differ.")
    return TwoPrompts(question.prompt, second, question)


def _read_metric(metric: object) -> tuple[Any, Any, Any]:
    """Target, distractor and metric, as `read_question` takes them."""
    if isinstance(metric, LossFnConfig) or (callable(metric) and not isinstance(metric, type | Metric)):
        return None, None, metric
    if isinstance(metric, Sequence) and not isinstance(metric, str | bytes) and len(metric) == 2:
        return metric[0], metric[1], None
    raise InvalidRequestError(
        f'metric is {shown(metric)}. Give two answers, such as (" Mary", " John"), a LossFnConfig, or a function of '
        "the logits."
    )


def _different_lengths(clean: Prompt, corrupted: Prompt) -> str:
    """Both tokenisations side by side, from just before the first token that differs."""
    pairs = list(zip_longest(clean.token_strings, corrupted.token_strings))
    first = next((place for place, (one, other) in enumerate(pairs) if one != other), 0)
    start = max(0, first - _BEFORE)
    shown_pairs = pairs[start : start + _MOST_SHOWN]
    width = max(len("clean"), *(len(_cell(one)) for one, _ in shown_pairs))
    rows = [
        f"{start + place:>5}  {_cell(one):<{width}}  {_cell(other)}" for place, (one, other) in enumerate(shown_pairs)
    ]
    left = len(pairs) - start - len(shown_pairs)
    return "\n".join(
        [
            f"The clean prompt has {len(clean.token_ids)} tokens, and the corrupted one {len(corrupted.token_ids)}. "
            "They are compared token by token, so both must have as many:",
            f"       {'clean':<{width}}  corrupted",
            *rows,
            *([f"       … {left} more"] if left > 0 else []),
        ]
    )


_BEFORE, _MOST_SHOWN, _LONGEST_CELL = 3, 24, 24


def _cell(token: str | None) -> str:
    return "" if token is None else shown(token, _LONGEST_CELL)
