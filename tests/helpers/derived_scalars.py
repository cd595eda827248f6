"""Small models as contexts, and random autoencoders for them, that the tests of derived scalars share."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jaxtyping
import pytest
import torch
from torch import Tensor

from benchmarks.small_models import number_tokenizer, random_autoencoders
from helpers.tiny_models import HF_CONFIGS, hf_model, our_model
from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.derived_scalars.derivation import derive
from neuron_explainer.activations.derived_scalars.indexing import AblationSpec, ActivationIndex
from neuron_explainer.activations.derived_scalars.store.derived_scalar_store import DerivedScalarStore
from neuron_explainer.models.autoencoder_context import AutoencoderContext
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D

PROMPT = [5, 17, 3, 44, 17, 20]
N_LAYERS = 3
FAMILIES = list(HF_CONFIGS)
_STRUCTURES = {
    "gpt2", "gpt_neox", "gpt_neox_sequential", "gptj", "phi", "llama", "mistral", "qwen3", "gemma2", "olmo2", "granite",
    "cohere", "ministral3",
}  # fmt: skip
EACH_STRUCTURE = [pytest.param(family, marks=() if family in _STRUCTURES else pytest.mark.long) for family in FAMILIES]
"""All families; those whose block is put together as another one's are for `make long`."""
TARGET, DISTRACTOR = 7, 11


def logit_difference(logits: Tensor) -> Tensor:
    return logits[-1, TARGET] - logits[-1, DISTRACTOR]


@functools.cache
def context(family: str, dtype: torch.dtype = torch.float64) -> StandardModelContext:
    """A model whose 61 tokens are spelled t0 to t60."""
    return StandardModelContext(family, our_model(family, dtype), number_tokenizer())


def derived(
    family: str,
    dsts: Any,
    *,
    prompt: Any = PROMPT,
    loss: Any = logit_difference,
    ablations: Any = (),
    **config: Any,
) -> DerivedScalarStore:
    settings = DstConfig(model_context=context(family), **config)
    return derive(prompt, dsts, settings, loss=loss, ablations=ablations)


def autoencoders(family: str, dst: D, **options: Any) -> AutoencoderContext:
    """Random autoencoders of all layers; see `random_autoencoders`."""
    return random_autoencoders(context(family), dst, **options)


def close(actual: Any, expected: Any, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(
        torch.as_tensor(actual, dtype=torch.float64),
        torch.as_tensor(expected, dtype=torch.float64),
        rtol=tolerance,
        atol=tolerance,
    )


def loss_with(family: str, index: ActivationIndex, value: float, **config: Any) -> float:
    """The loss when one activation is overwritten."""
    loss = derived(family, D.LOGITS, ablations=[AblationSpec(index, value)], **config).loss
    assert loss is not None
    return loss


def slope(value_at: Callable[[float], float], at: float, step: float = 1e-4) -> float:
    """The derivative of a function of one number, by central differences of fourth order."""
    with annotations_unchecked():
        near = value_at(at + step) - value_at(at - step)
        far = value_at(at + 2 * step) - value_at(at - 2 * step)
    return (8 * near - far) / (12 * step)


@contextlib.contextmanager
def annotations_unchecked() -> Iterator[None]:
    """Checking shapes takes a hundred times as long as these small models; elsewhere it is done for every family."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def output_biases(family: str, layer: int | None, prompt: Sequence[int] = PROMPT) -> tuple[Tensor, Tensor]:
    """The biases that attention and the MLP add to the residual stream, by the names that `transformers` gives them.

    The MLP's are a row for each token of the prompt where experts have biases.
    """
    tensors = hf_model(family, torch.float64).state_dict()

    def bias(names: tuple[str, ...]) -> Tensor:
        found = [tensors[name] for name in (each.format(layer) for each in names) if name in tensors]
        return found[0] if found else torch.zeros(context(family).config.d_model, dtype=torch.float64)

    of_experts = tensors.get(f"model.layers.{layer}.mlp.experts.down_proj_bias")
    if of_experts is not None:
        return bias(_ATTENTION_BIASES), _chosen_biases(family, layer, prompt, of_experts)
    return bias(_ATTENTION_BIASES), bias(_MLP_BIASES)


def _chosen_biases(family: str, layer: int | None, prompt: Sequence[int], of_experts: Tensor) -> Tensor:
    """The biases of the experts that `transformers` chooses for each token of the prompt, times its weights."""
    theirs, routed = hf_model(family, torch.float64), []
    router = theirs.get_submodule(f"model.layers.{layer}.mlp.router")
    hook = router.register_forward_hook(lambda module, arguments, output: routed.append(output))
    try:
        theirs(torch.tensor([prompt]))
    finally:
        hook.remove()
    ((_, weights, experts),) = routed
    return torch.einsum("tk,tkd->td", weights, of_experts[experts])


_ATTENTION_BIASES = (
    "transformer.h.{}.attn.c_proj.bias",
    "gpt_neox.layers.{}.attention.dense.bias",
    "model.layers.{}.self_attn.o_proj.bias",
    "model.layers.{}.self_attn.dense.bias",
    "model.decoder.layers.{}.self_attn.out_proj.bias",
    "transformer.h.{}.attn.attention.out_proj.bias",
    "transformer.h.{}.self_attention.dense.bias",
)
_MLP_BIASES = (
    "transformer.h.{}.mlp.c_proj.bias",
    "gpt_neox.layers.{}.mlp.dense_4h_to_h.bias",
    "model.layers.{}.mlp.down_proj.bias",
    "model.layers.{}.mlp.fc2.bias",
    "model.layers.{}.mlp.c_proj.bias",
    "model.decoder.layers.{}.fc2.bias",
    "transformer.h.{}.mlp.fc_out.bias",
    "transformer.h.{}.mlp.dense_4h_to_h.bias",
)
