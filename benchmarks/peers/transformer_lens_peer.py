"""TransformerLens 4: the bridge to a model of `transformers`, with eager attention, which its hooks need."""

from pathlib import Path
from typing import Any

import torch

from benchmarks.peers.tool import GatheredTool, Numbers, difference_of, prompt_of

HOOKS = {
    "after attention": "hook_resid_mid",
    "after layers": "hook_resid_post",
    "patterns": "attn.hook_pattern",
    "neurons": "mlp.hook_post",
}


def bridge_to(model: Any, tokenizer: Any) -> Any:
    """A model of `transformers` with TransformerLens' hooks."""
    from transformer_lens.model_bridge import TransformerBridge

    return TransformerBridge.boot_transformers("local", hf_model=model.eval(), tokenizer=tokenizer, device="cpu")


class Peer(GatheredTool):
    """A folder's model in TransformerLens."""

    def __init__(self, folder: Path, n_tokens: int) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
        self.lens = bridge_to(model, AutoTokenizer.from_pretrained(folder))
        self.tokens = prompt_of(n_tokens)
        layers = range(self.lens.cfg.n_layers)
        self.names = {kind: [f"blocks.{layer}.{hook}" for layer in layers] for kind, hook in HOOKS.items()}

    def plain(self) -> Any:
        """A call that returns logits."""
        with torch.no_grad():
            return self.lens(self.tokens, return_type="logits")

    def record(self) -> Any:
        """`run_with_cache` with the names of the hooks, which is less work than without."""
        wanted = [name for names in self.names.values() for name in names]
        with torch.no_grad():
            _, cache = self.lens.run_with_cache(self.tokens, names_filter=wanted)
        return {kind: [cache[name] for name in names] for kind, names in self.names.items()}

    def gradients(self, frozen: bool) -> Any:
        """Forward and backward hooks: `run_with_cache` gives gradients of its own loss alone."""
        values: dict[str, torch.Tensor] = {}
        gradients: dict[str, torch.Tensor] = {}

        def keep(tensor: torch.Tensor, hook: Any, name: str) -> None:
            values[name] = tensor.detach()

        def keep_gradient(tensor: torch.Tensor, hook: Any, name: str) -> None:
            gradients[name] = tensor.detach()

        def start(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
            return tensor.detach().requires_grad_()

        def named(function: Any, name: str) -> Any:
            return lambda tensor, hook: function(tensor, hook, name)

        wanted = [name for names in self.names.values() for name in names]
        self.lens.requires_grad_(not frozen)
        forward = [(name, named(keep, name)) for name in wanted]
        with self.lens.hooks(
            [("hook_embed", start), *forward] if frozen else forward,
            [(name, named(keep_gradient, name)) for name in wanted],
        ):
            difference_of(self.lens(self.tokens, return_type="logits")).backward()
        self.lens.zero_grad()
        seen = {kind: [values[name] for name in names] for kind, names in self.names.items()}
        return seen | {f"{kind}, gradient": [gradients[name] for name in names] for kind, names in self.names.items()}

    def numbers(self, job: str, result: Any) -> Numbers:
        """The gradient at `hook_resid_mid` lacks the way past the MLP, which is added here."""
        found = super().numbers(job, result)
        if job.startswith("gradients"):
            found["after attention, gradient"] = found["after attention, gradient"] + found["after layers, gradient"]
        return found
