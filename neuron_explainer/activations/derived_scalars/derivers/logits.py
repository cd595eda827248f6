"""Logits of all tokens, computed outside of the autograd graph if only the last token's are differentiated."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.engine.evaluation import Evaluation, Need, Recorded
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType


@dataclass(frozen=True)
class LogitsNeed(Need):
    """LOGITS: recorded, or computed from the final norm's output if the pass needs only the last token's logits."""

    def recordings(self, bound: BoundConfig, layer: int | None) -> Iterator[Recorded]:
        """The logits, or what they are computed from."""
        yield Recorded(_PLACE.RESID_POST_FINAL_LAYER_NORM if bound.unembeds_apart else _PLACE.LOGITS, None)

    def value(self, evaluation: Evaluation, layer: int | None) -> Float[Tensor, "batch tokens vocab"]:
        """The logits of all tokens."""
        bound = evaluation.bound
        (recorded,) = self.recordings(bound, layer)
        tensor = evaluation.recorded(recorded)
        if not bound.unembeds_apart:
            return tensor
        with torch.no_grad():
            return bound.model.unembed(tensor)
