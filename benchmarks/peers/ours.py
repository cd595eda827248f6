"""This library."""

from pathlib import Path
from typing import Any

import torch

import neuron_explainer as ne
from benchmarks.peers.tool import DISTRACTOR, TARGET, Numbers, difference_of, prompt_of

PLACES = {
    "after attention": "resid_post_attn",
    "after layers": "resid_post_mlp",
    "patterns": "attn_qk_probs",
    "neurons": "mlp_post_act",
}
TABLE = {"neurons": "mlp_act_times_grad", "heads": "attn_act_times_grad_per_sequence_token"}


class Peer:
    """A folder's model in this library."""

    def __init__(self, folder: Path, n_tokens: int) -> None:
        self.context = ne.load_model(folder, device="cpu", dtype="float32")
        self.model = self.context.get_or_create_model()
        self.tokens = prompt_of(n_tokens)

    def plain(self) -> Any:
        """A call."""
        return self.model(self.tokens)

    def record(self) -> Any:
        """`record` with the names of the places."""
        with self.model.record(PLACES.values()) as recording:
            self.model(self.tokens)
        return recording

    def gradients(self, frozen: bool) -> Any:
        """`record` with gradients; those of the weights are never computed, so `frozen` makes no difference."""
        with self.model.record(PLACES.values(), gradients=True) as recording:
            logits = self.model(self.tokens)
            assert logits is not None
            recording.backward(difference_of(logits))
        return recording

    def node_table(self) -> Any:
        """`derive` with two types."""
        loss = ne.LossFnConfig("logit_diff", [TARGET], [DISTRACTOR])
        return ne.derive(self.tokens, TABLE.values(), self.context, loss=loss)

    def numbers(self, job: str, result: Any) -> Numbers:
        """Patterns are (queries, keys, heads) here."""
        if job == "plain":
            return {"logits": result[0].detach()}
        layers = range(self.context.n_layers)
        if job == "node table":
            return {
                kind: torch.stack([result.activations(dst)[layer] for layer in layers]) for kind, dst in TABLE.items()
            }
        found: Numbers = {}
        for kind, place in PLACES.items():
            found[kind] = torch.stack([result[place, layer].detach()[0] for layer in layers])
            if job != "record":
                found[f"{kind}, gradient"] = torch.stack([result.gradient(place, layer)[0] for layer in layers])
        return {kind: tensor.permute(0, 3, 1, 2) if "patterns" in kind else tensor for kind, tensor in found.items()}
