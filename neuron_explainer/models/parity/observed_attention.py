"""What attention gets and computes in a `transformers` model, layer by layer, while the model runs."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.vocabulary.places import ActivationLocationType

_PLACE = ActivationLocationType
_NAME = "neuron_explainer_observed"
_MASKED_BELOW = -1e4  # transformers masks with the dtype's lowest number, not with -inf; float16's is -65504

Observed = list[dict[ActivationLocationType, Tensor]]
"""The tensors at the places of attention, for each layer in turn."""


@contextmanager
def observed_attention(hf_model: Any, scales: Sequence[float], observed: Observed) -> Iterator[None]:
    """Let a `transformers` model note what its attention gets and computes.

    Most families take an implementation of attention by name. GPT-Neo has a method of its own instead, and Falcon calls
    PyTorch's kernel.

    Args:
        hf_model: the model.
        scales: for each layer, the factor of query · key. Some families multiply queries by it before attention.
        observed: what is seen is added here.
    """
    notes = _Notes(scales, observed)
    with ExitStack() as stack:
        config = hf_model.config
        before = config._attn_implementation
        if config.model_type == "falcon":
            config._attn_implementation = "sdpa"
            stack.callback(setattr, config, "_attn_implementation", before)
            stack.enter_context(_KernelCalls(notes))
        elif config.model_type == "gpt_neo":
            for module in hf_model.modules():
                if hasattr(module, "_attn"):
                    module._attn = _own_method(notes, module)
                    stack.callback(delattr, module, "_attn")
        else:
            _register(notes)
            hf_model.set_attn_implementation(_NAME)
            stack.callback(hf_model.set_attn_implementation, before)
        yield


class _Notes:
    """Computes and keeps the tensors at the places of attention."""

    def __init__(self, scales: Sequence[float], observed: Observed) -> None:
        self.scales = scales
        self.observed = observed

    def take(
        self,
        query: Float[Tensor, "batch heads tokens d_head"],
        key: Float[Tensor, "batch key_heads keys d_head"],
        value: Float[Tensor, "batch key_heads keys d_head"],
        mask: Float[Tensor, "..."],
        *,
        scaling: float,
        softcap: float | None = None,
        sinks: Float[Tensor, " heads"] | None = None,
    ) -> tuple[Float[Tensor, "batch heads tokens d_head"], Float[Tensor, "batch heads tokens keys"]]:
        """Note a layer; returns what the heads sum, and the attention pattern."""
        scale = self.scales[len(self.observed)]
        key, value = (each.repeat_interleave(query.shape[1] // each.shape[1], dim=1) for each in (key, value))
        logits = query @ key.transpose(-1, -2) * scaling
        if softcap is not None:
            logits = (logits / softcap).tanh() * softcap
        logits = (logits + mask).masked_fill(mask < _MASKED_BELOW, float("-inf"))
        # A row that is all masked belongs to padding; its softmax would be NaN, which would spread.
        if sinks is None:
            probs = logits.softmax(-1).nan_to_num(0.0)
        else:
            beside = sinks.view(-1, 1, 1).expand(*logits.shape[:-1], 1).to(logits.dtype)
            probs = torch.cat((logits, beside), dim=-1).softmax(-1)[..., :-1]
        self.observed.append(
            {
                _PLACE.ATTN_QUERY: query.transpose(1, 2) * (scaling / scale**0.5),
                _PLACE.ATTN_KEY: key.transpose(1, 2) * scale**0.5,
                _PLACE.ATTN_VALUE: value.transpose(1, 2),
                _PLACE.ATTN_QK_LOGITS: logits.permute(0, 2, 3, 1),
                _PLACE.ATTN_QK_PROBS: probs.permute(0, 2, 3, 1),
            }
        )
        return probs @ value, probs


def _register(notes: _Notes) -> None:
    """Offer an implementation of attention that takes notes."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    def attend(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        softcap: float | None = None,
        s_aux: Tensor | None = None,
        **ignored: Any,
    ) -> tuple[Tensor, Tensor]:
        if attention_mask is None:
            raise InvalidRequestError("This version of transformers passes no mask to attention, which is needed here.")
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        summed, probs = notes.take(query, key, value, attention_mask, scaling=scale, softcap=softcap, sinks=s_aux)
        return summed.transpose(1, 2).contiguous(), probs

    AttentionInterface.register(_NAME, attend)
    AttentionMaskInterface.register(_NAME, eager_mask)


def _own_method(notes: _Notes, module: Any) -> Any:
    """The method `_attn` of GPT-Neo's attention, taking notes; its local layers have the mask in a buffer."""

    def attend(
        query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None, *ignored: Any, **too: Any
    ) -> Any:
        allowed = module.bias[:, :, key.shape[-2] - query.shape[-2] : key.shape[-2], : key.shape[-2]]
        mask = _additive(allowed, query)
        return notes.take(query, key, value, mask if attention_mask is None else mask + attention_mask, scaling=1.0)

    return attend


class _KernelCalls(TorchFunctionMode):
    """Notes the calls of PyTorch's attention kernel."""

    def __init__(self, notes: _Notes) -> None:
        super().__init__()
        self.notes = notes

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is nn.functional.scaled_dot_product_attention:
            query, key, value = args[:3]
            mask = kwargs.get("attn_mask")
            if mask is None or mask.dtype == torch.bool:
                shape = (1, 1, query.shape[-2], key.shape[-2])
                allowed = torch.ones(shape, dtype=torch.bool, device=query.device).tril() if mask is None else mask
                mask = _additive(allowed, query)
            self.notes.take(query, key, value, mask, scaling=query.shape[-1] ** -0.5)
        return func(*args, **kwargs)


def _additive(allowed: Tensor, query: Tensor) -> Tensor:
    """A mask that is added to logits: 0 where a query may attend, -inf elsewhere."""
    return torch.zeros(allowed.shape, dtype=query.dtype, device=query.device).masked_fill(~allowed, float("-inf"))
