"""What every tool is asked to do, and in which form its numbers are compared."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

JOBS = ("plain", "record", "gradients", "gradients, weights frozen", "node table")
TARGET, DISTRACTOR = 10, 20
Numbers = dict[str, torch.Tensor]
"""Tensors by name: residual streams (layers, tokens, channels), patterns (layers, heads, queries, keys) and so on."""


class Tool(Protocol):
    """One library with one model. Each method does the work as its users would, and returns what it has."""

    def __init__(self, folder: Path, n_tokens: int) -> None: ...

    def plain(self) -> Any:
        """The logits of all tokens, without gradients."""

    def record(self) -> Any:
        """Residual streams after attention and after each layer, attention patterns, MLP activations: of all layers."""

    def gradients(self, frozen: bool) -> Any:
        """The same with the gradients of a logit difference; `frozen`: without those of the weights."""

    def node_table(self) -> Any:
        """Activation times gradient of each neuron at each token, and of each head at each query, summed over keys."""

    def numbers(self, job: str, result: Any) -> Numbers:
        """What a job returned, in the form in which all tools are compared."""


def prompt_of(n_tokens: int) -> torch.Tensor:
    """A batch of one prompt whose tokens every model here has."""
    return torch.randint(2, 1000, (1, n_tokens), generator=torch.Generator().manual_seed(0))


def difference_of(logits: torch.Tensor) -> torch.Tensor:
    """What is differentiated: the logit difference of two tokens at the last position."""
    return logits[0, -1, TARGET] - logits[0, -1, DISTRACTOR]


def gathered(seen: Mapping[str, Sequence[torch.Tensor]]) -> Numbers:
    """Lists of one tensor a layer as tensors of all layers, without the batch of one."""
    return {kind: torch.stack([layer.detach()[0] for layer in layers]) for kind, layers in seen.items()}


def act_times_grad(seen: Mapping[str, Sequence[torch.Tensor]]) -> Numbers:
    """The node table of what was recorded with gradients; patterns as (batch, heads, queries, keys)."""
    neurons = zip(seen["neurons"], seen["neurons, gradient"], strict=True)
    patterns = zip(seen["patterns"], seen["patterns, gradient"], strict=True)
    return {
        "neurons": torch.stack([(value * gradient)[0] for value, gradient in neurons]),
        "heads": torch.stack([(value * gradient).sum(-1)[0].T for value, gradient in patterns]),
    }


def apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The largest difference of two tensors, divided by the largest number of the first.

    Raises:
        ValueError: they have different shapes, or a number is not finite.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"Ours have the shape {tuple(ours.shape)}, theirs {tuple(theirs.shape)}.")
    if not (bool(ours.isfinite().all()) and bool(theirs.isfinite().all())):
        raise ValueError("Some numbers are not finite, so they cannot be compared.")
    exact = ours.detach().double()
    return float((exact - theirs.detach().double()).abs().max() / exact.abs().max())


class GatheredTool:
    """A tool that records lists of one tensor a layer by kind, patterns in the compared form already."""

    def attend(self, hf_model: Any, implementation: str) -> None:
        """Let a model of `transformers` use an implementation of attention, if it does not yet.

        Patterns need "eager"; a plain pass does not, and a careful user has the faster "sdpa" there.
        """
        if hf_model.config._attn_implementation != implementation:
            hf_model.set_attn_implementation(implementation)

    def gradients(self, frozen: bool) -> Any:
        """See `Tool`."""
        raise NotImplementedError

    def node_table(self) -> Any:
        """Products of what was recorded."""
        return act_times_grad(self.gradients(frozen=True))

    def numbers(self, job: str, result: Any) -> Numbers:
        """The lists in one tensor each."""
        if job == "plain":
            return {"logits": result[0]}
        return result if job == "node table" else gathered(result)


def run(tool: Tool, job: str) -> Any:
    """Do one of `JOBS`."""
    if job.startswith("gradients"):
        return tool.gradients(frozen=job != "gradients")
    return {"plain": tool.plain, "record": tool.record, "node table": tool.node_table}[job]()
