"""What a lens reads in a pass: the residual stream after each layer, or what a part of the layer writes to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import InvalidRequestError, UnknownNameError
from neuron_explainer.models.hooks.recording import name_of
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType
LensOf = Literal["resid", "attn", "mlp", "heads"]

PLACES: dict[str, ActivationLocationType] = {
    "resid": _PLACE.RESID_POST_MLP,
    "attn": _PLACE.RESID_DELTA_ATTN,
    "mlp": _PLACE.RESID_DELTA_MLP,
    "heads": _PLACE.ATTN_WEIGHTED_SUM_OF_VALUES,
}
"""What is recorded for each choice of `of`."""
_READ_OUT = (_PLACE.RESID_FINAL_LAYER_NORM_SCALE, _PLACE.RESID_POST_FINAL_LAYER_NORM, _PLACE.LOGITS)


@dataclass(frozen=True)
class LensStream:
    """What is read, at the positions that are read.

    Attributes:
        model: the model.
        of: what it is; heads have an axis of their own.
        by_layer: (positions, d_model) of each layer; of heads what they sum, (positions, heads, d_head).
        final: the residual stream after the last layer, (positions, d_model).
    """

    model: Transformer
    of: LensOf
    by_layer: dict[int, Tensor]
    final: Float[Tensor, "positions d_model"]

    @property
    def n_components(self) -> int:
        """How many rows of logits a layer has at each position."""
        return self.model.config.n_heads if self.of == "heads" else 1

    def vectors(self, layer: int, start: int, stop: int) -> Float[Tensor, "components positions d_model"]:
        """What is read of a layer at some of the positions."""
        kept = self.by_layer[layer][start:stop]
        if self.of != "heads":
            return kept[None]
        block = self.model.blocks[layer]
        post_norm = block.attention_post_norm_at(kept[None])
        writes = torch.einsum("phc,hcd->hpd", kept, block.attention.output_by_head())
        return writes if post_norm is None else writes * post_norm.factor


def read_stream(
    model: Transformer,
    token_ids: Sequence[int],
    of: LensOf,
    layers: Sequence[int],
    positions: Sequence[int],
) -> LensStream:
    """One pass over a prompt, without its logits.

    Raises:
        UnknownNameError: `of` is none of the choices.
        InvalidRequestError: an intervention changes the final norm or the logits, which lenses compute by themselves.
    """
    read_out = {name_of(place, None) for place in _READ_OUT}
    changed = [name for name in model.active_interventions if name in read_out]
    if changed:
        raise InvalidRequestError(
            f"An intervention at {', '.join(changed)} is active here. A lens reads the residual stream by the model's "
            "own final norm and unembedding, without it. Leave its `with` block first."
        )
    if not isinstance(of, str) or of not in PLACES:
        raise UnknownNameError("part for a lens", of, PLACES)
    place, last = PLACES[of], (_PLACE.RESID_POST_MLP, model.config.n_layers - 1)
    tokens = torch.tensor([list(token_ids)], dtype=torch.int64, device=model.device)
    with model.record([*((place, layer) for layer in layers), last]) as recording:
        model(tokens, logits_at=None)
    where = (
        slice(None)
        if len(positions) == len(token_ids)
        else torch.tensor(positions, dtype=torch.int64, device=model.device)
    )
    # Of the positions that are not read, nothing is kept.
    return LensStream(
        model, of, {layer: recording[place, layer][0, where] for layer in layers}, recording[last][0, where]
    )
