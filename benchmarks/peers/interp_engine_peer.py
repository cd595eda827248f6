"""interp-engine 1.14 on its eager backend, the only one without a GPU."""

from pathlib import Path
from typing import Any

import torch

from benchmarks.peers.tool import GatheredTool, difference_of, prompt_of

POINTS = {"after attention": "resid_mid", "after layers": "resid_post", "patterns": "attn_probs", "neurons": "mlp_act"}


class Peer(GatheredTool):
    """A folder's model in interp-engine, loaded so that it can be differentiated."""

    def __init__(self, folder: Path, n_tokens: int) -> None:
        import interp_engine

        self.capture = interp_engine.capture
        self.model: Any = interp_engine.load_model(
            str(folder),
            backend="eager",
            device="cpu",
            dtype="float32",
            attn_implementation="sdpa",
            requires_grad=True,
        )
        self.tokens = prompt_of(n_tokens)
        layers = range(self.model.n_layers)
        self.names = {kind: [f"{point}.{layer}" for layer in layers] for kind, point in POINTS.items()}
        self.wanted = [name for names in self.names.values() for name in names]

    def plain(self) -> Any:
        """A capture of no points, whose cache keeps the model's output."""
        self.attend(self.model.hf_model, "sdpa")
        return self.capture(self.model, self.tokens, []).output.logits

    def record(self) -> Any:
        """A capture, which copies what it keeps."""
        self.attend(self.model.hf_model, "eager")
        cache = self.capture(self.model, self.tokens, self.wanted)
        return {kind: [cache[name] for name in names] for kind, names in self.names.items()}

    def gradients(self, frozen: bool) -> Any:
        """A capture with its graph; torch differentiates what it keeps, and weights if they are not `frozen`."""
        self.attend(self.model.hf_model, "eager")
        cache = self.capture(self.model, self.tokens, self.wanted, detach=False)
        kept = [cache[name] for name in self.wanted]
        asked = kept if frozen else [*kept, *self.model.hf_model.parameters()]
        found = torch.autograd.grad(difference_of(cache.output.logits), asked)
        gradients = dict(zip(self.wanted, found, strict=False))
        seen = {kind: [cache[name] for name in names] for kind, names in self.names.items()}
        return seen | {f"{kind}, gradient": [gradients[name] for name in names] for kind, names in self.names.items()}
