"""Small random models of every family, as `transformers` builds them, and as this library does."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
import transformers
from transformers.models.cohere import modeling_cohere
from transformers.models.cohere2 import modeling_cohere2
from transformers.models.gemma2 import modeling_gemma2
from transformers.models.gemma3 import modeling_gemma3
from transformers.models.mixtral import modeling_mixtral
from transformers.models.olmoe import modeling_olmoe
from transformers.models.qwen3_moe import modeling_qwen3_moe

from benchmarks.small_models import SMALL_CONFIGS
from helpers.installed_transformers import IS_OLD, hf_config_of, lacks, model_of
from neuron_explainer.models.transformer import Transformer

HF_CONFIGS: dict[str, Any] = {
    name: hf_config_of(entries) for name, entries in SMALL_CONFIGS.items() if lacks(entries["model_type"]) is None
}
"""The table of models that what holds in every family is tested in, without what the installed transformers lacks.

`test_every_family_has_a_model_in_the_table_of_the_tests` says what it lacks."""

ALLOWED = {torch.float32: 1e-4, torch.float64: 1e-5 if IS_OLD else 1e-10}
"""How far results can be from those of `transformers`. Where an old one rounds to float32 is not followed up."""

ONE_OF_EACH_FAMILY: list[str] = list(
    {config.model_type: name for name, config in reversed(HF_CONFIGS.items())}.values()
)[::-1]
"""The first model of each family, for tests in which a family's variants take the same path."""


def hf_model(name: str, dtype: torch.dtype = torch.float32) -> transformers.PreTrainedModel:
    """A `transformers` model with random weights, biases and gains, whose attention patterns can be asked for."""
    return _hf_model(name, dtype)


@functools.cache
def _hf_model(name: str, dtype: torch.dtype) -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    model = model_of(HF_CONFIGS[name])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model = model.eval().to(dtype).requires_grad_(False)
    if dtype == torch.float64:
        model(random_tokens(1, 64))  # longrope makes its angles for long contexts now, in float32 as ours
        model.forward = _in_float64_throughout(model.forward)
    return model


def our_model(name: str, dtype: torch.dtype = torch.float32) -> Transformer:
    """Ours around the same weights."""
    theirs = hf_model(name, dtype)
    return Transformer.from_hf_config_and_tensors(theirs.config.to_dict(), theirs.state_dict())


def random_tokens(batch: int, tokens: int, vocab_size: int = 61, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, vocab_size, (batch, tokens), generator=torch.Generator().manual_seed(seed))


def _exact_rms_norm(norm: Any, hidden: torch.Tensor) -> torch.Tensor:
    return hidden * torch.rsqrt(hidden.square().mean(-1, keepdim=True) + norm.eps) * (1.0 + norm.weight)


_ROUTERS = {
    router: router.forward
    for module, name in (
        (modeling_mixtral, "MixtralTopKRouter"),
        (modeling_olmoe, "OlmoeTopKRouter"),
        (modeling_qwen3_moe, "Qwen3MoeTopKRouter"),
    )
    if (router := getattr(module, name, None)) is not None  # old releases have none
}
_ROTATE_OF_COHERE = modeling_cohere.apply_rotary_pos_emb


def _exactly(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that does not round to float32."""

    def exact(*arguments: Any, **keywords: Any) -> Any:
        with (
            mock.patch.object(torch.Tensor, "float", torch.Tensor.double),
            mock.patch.object(torch, "float", torch.float64),
        ):
            return function(*arguments, **keywords)

    return exact


def _in_float64_throughout(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A forward pass of `transformers` without its rounding of norms, rotations and softmax to float32."""

    @functools.wraps(forward)
    def exact(*arguments: Any, **keywords: Any) -> Any:
        replaced: list[tuple[Any, str, Any]] = [
            (torch, "float32", torch.float64),
            (modeling_gemma2.Gemma2RMSNorm, "forward", _exact_rms_norm),
            (modeling_gemma3.Gemma3RMSNorm, "forward", _exact_rms_norm),
            (modeling_cohere, "apply_rotary_pos_emb", _exactly(_ROTATE_OF_COHERE)),
            (modeling_cohere2, "apply_rotary_pos_emb", _exactly(_ROTATE_OF_COHERE)),
            *((router, "forward", _exactly(plain)) for router, plain in _ROUTERS.items()),
        ]
        with contextlib.ExitStack() as stack:
            for owner, name, exact_one in replaced:
                stack.enter_context(mock.patch.object(owner, name, exact_one))
            return forward(*arguments, **keywords)

    return exact
