"""A text that is read without a direction and with it, one row of a batch for each strength."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.attribution.computing.batches import batches_of_rows
from neuron_explainer.attribution.question.answers import read_answers
from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.models.hooks.intervention import Intervention
from neuron_explainer.models.layers.norms import at_least_float32
from neuron_explainer.models.layers.token_checks import as_token_ids
from neuron_explainer.models.model_context import ModelContext
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.checks import checked_token_id
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType
FunctionOfRows = Callable[[Sequence[float | None]], Callable[..., Tensor]]


def read_text(model: ModelContext, text: Any) -> list[int]:
    """The tokens of a text that follows a prompt.

    Raises:
        InvalidRequestError: it is neither a text nor token ids, has no tokens, or the model does not have an id.
    """
    if isinstance(text, str) and text:
        (answer,) = read_answers(model, text, True)
        return list(answer.token_ids)
    given = [] if isinstance(text, str) else as_token_ids(text)
    ids = [checked_token_id(each, model.vocab_size, model.model_name) for each in given]
    if not ids:
        raise InvalidRequestError(f"The text is {shown(text)}, which has no tokens. Give at least one.")
    return ids


@dataclass(frozen=True)
class Reading:
    """A text and the strengths with which it is read.

    Attributes:
        model: the model.
        token_ids: the text's tokens.
        n_prompt: how many of them are the prompt's.
        strengths: of each row; None: without the direction.
        function_of: the intervention's function for rows of these strengths.
        layers: the steered layers.
        freeze_attention: whether attention patterns are those without the direction.
    """

    model: ModelContext
    token_ids: list[int]
    n_prompt: int
    strengths: list[float | None]
    function_of: FunctionOfRows
    layers: tuple[int, ...]
    freeze_attention: bool

    def logits(self) -> Iterator[tuple[list[float | None], Float[Tensor, "rows tokens vocab"]]]:
        """Strengths, and the logits of their rows, in order."""
        transformer = self.model.get_or_create_model()
        tokens = torch.tensor([self.token_ids], dtype=torch.int64, device="cpu")
        frozen = self._frozen(transformer, tokens)
        n_tokens = len(self.token_ids)
        for rows in batches_of_rows(len(self.strengths), n_tokens, n_tokens * self.model.vocab_size, transformer):
            strengths = [self.strengths[row] for row in rows]
            function = self.function_of(strengths)
            hook = transformer.intervention(_PLACE.RESID_POST_MLP, self.layers, function)
            logits = transformer(tokens.expand(len(rows), -1), hooks=[hook, *frozen])
            yield strengths, logits

    def log_probabilities(self, logits: Float[Tensor, "rows tokens vocab"]) -> list[float]:
        """ln p of what follows the prompt, of each row's logits."""
        follows = torch.tensor(self.token_ids[self.n_prompt :], dtype=torch.int64, device=logits.device)
        found = []
        for row in logits[:, self.n_prompt - 1 : -1]:
            log_probs = at_least_float32(row).log_softmax(-1)
            found.append(float(log_probs.gather(-1, follows[:, None]).double().sum()))
        return found

    def _frozen(self, transformer: Transformer, tokens: Tensor) -> list[Intervention]:
        """What writes the patterns without the direction, in the layers that it reaches."""
        reached = list(range(min(self.layers) + 1, transformer.config.n_layers))
        if not self.freeze_attention or not reached:
            return []
        recording = transformer.recording([(_PLACE.ATTN_QK_PROBS, reached)])
        transformer(tokens, logits_at=None, hooks=[recording])
        return [
            transformer.intervention(
                _PLACE.ATTN_QK_PROBS, layer, partial(_as_recorded, recording[_PLACE.ATTN_QK_PROBS, layer])
            )
            for layer in reached
        ]


def _as_recorded(pattern: Tensor, tensor: Tensor) -> Tensor:
    return pattern.expand_as(tensor)
