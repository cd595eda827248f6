"""nnsight 0.8: a trace for each job; where patterns are needed, with eager attention, of which modules give them."""

from pathlib import Path
from typing import Any

import torch

from benchmarks.peers.tool import GatheredTool, difference_of, prompt_of

KINDS = ("patterns", "after attention", "neurons", "after layers")


class Peer(GatheredTool):
    """A folder's model in nnsight; GPT-2's modules have other names than Llama's."""

    def __init__(self, folder: Path, n_tokens: int) -> None:
        import nnsight

        self.nnsight = nnsight
        self.model: Any = nnsight.TransformersModel(
            str(folder),
            task="text-generation",
            dispatch=True,
            attn_implementation="sdpa",
            dtype=torch.float32,
            device_map="cpu",
        )
        self.tokens = prompt_of(n_tokens)
        if hasattr(self.model, "transformer"):
            self.embedding = self.model.transformer.drop
            layers = list(self.model.transformer.h)
            self.modules = [(each, each.attn, each.ln_2, each.mlp.c_proj) for each in layers]
        else:
            self.embedding = self.model.model.embed_tokens
            layers = list(self.model.model.layers)
            self.modules = [
                (each, each.self_attn, each.post_attention_layernorm, each.mlp.down_proj) for each in layers
            ]

    def plain(self) -> Any:
        """A trace that saves the logits."""
        self.attend(self.model._module, "sdpa")
        with torch.no_grad(), self.model.trace(self.tokens):
            logits = self.model.output.logits.save()
        return logits  # noqa: RET504  (the trace fills the name)

    def record(self) -> Any:
        """A trace that saves what modules take and give, in the order of the forward pass."""
        self.attend(self.model._module, "eager")
        with torch.no_grad(), self.model.trace(self.tokens):
            kept = self.nnsight.save([])
            for layer, attention, norm, projection in self.modules:
                pattern = attention.output[1]
                middle = norm.input
                neurons = projection.input
                kept.append((pattern, middle, neurons, layer.output))
        return dict(zip(KINDS, zip(*kept, strict=True), strict=True))

    def gradients(self, frozen: bool) -> Any:
        """A trace with a backward trace in it, which asks for gradients in the order of the backward pass."""
        self.attend(self.model._module, "eager")
        self.model._module.requires_grad_(not frozen)
        with self.model.trace(self.tokens):
            kept = self.nnsight.save([])
            found = self.nnsight.save([])
            if frozen:
                self.embedding.output.requires_grad_()
            for layer, attention, norm, projection in self.modules:
                pattern = attention.output[1]
                middle = norm.input
                neurons = projection.input
                kept.append((pattern, middle, neurons, layer.output))
            with difference_of(self.model.output.logits).backward():
                for pattern, middle, neurons, after in reversed(kept):
                    gradient_after = after.grad
                    gradient_neurons = neurons.grad
                    gradient_middle = middle.grad
                    found.append((pattern.grad, gradient_middle, gradient_neurons, gradient_after))
        self.model._module.zero_grad()
        seen = dict(zip(KINDS, zip(*kept, strict=True), strict=True))
        gradients = zip(KINDS, zip(*reversed(found), strict=True), strict=True)
        return seen | {f"{kind}, gradient": each for kind, each in gradients}
