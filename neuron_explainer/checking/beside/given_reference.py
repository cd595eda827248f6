"""The model beside which another is checked: one of `transformers`, in memory or loaded."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from neuron_explainer.checking.beside.loading import loaded_reference
from neuron_explainer.checking.copies import can_be_copied
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.families.registry import family_of
from neuron_explainer.models.transformer import Transformer

_SAME = ("model_type", "n_layers", "d_model", "n_heads", "n_key_value_heads", "d_head", "d_mlp", "vocab_size")
_LOW = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Reference:
    """A model of `transformers`.

    Attributes:
        model: the model.
        name: what it is called in reports.
        tokenizer: its tokenizer; None of a model in memory.
        why_no_tokenizer: what is the matter with its tokenizer, if it has one that cannot be read.
    """

    model: Any
    name: str
    tokenizer: Any = None
    why_no_tokenizer: str | None = None

    @property
    def can_be_copied(self) -> bool:
        """Whether a copy would be another model."""
        return can_be_copied(self.model)

    @property
    def dtype(self) -> torch.dtype:
        """That of its weights."""
        found: torch.dtype = next(self.model.parameters()).dtype
        return found

    @property
    def low_frequencies(self) -> torch.dtype | None:
        """The dtype of its rotary frequencies, if they were rounded with the weights; else None."""
        return next((tensor.dtype for _, _, tensor in _tables(self.model) if tensor.dtype in _LOW), None)

    def in_dtype(self, dtype: torch.dtype) -> Reference:
        """It in another dtype, as `transformers` loads it in that: itself, or a copy.

        Rotary frequencies and other tables stay in float32 where weights become less exact. Where they become more
        exact, the scale of Gemma's embedding, which was rounded with them, is again that of the config.
        """
        if self.dtype == dtype:
            return self
        copied = copy.deepcopy(self.model)
        kept = list(_tables(copied)) if dtype in _LOW else []
        copied = copied.to(dtype)
        for module, name, tensor in kept:
            module._buffers[name] = tensor
        for module in copied.modules():
            if dtype not in _LOW and hasattr(module, "scalar_embed_scale"):
                module.embed_scale.fill_(module.scalar_embed_scale)
        return replace(self, model=copied)

    def with_frequencies_of_config(self) -> Reference | None:
        """A copy with the rotary frequencies that its config says; None where they cannot be made anew."""
        copied = copy.deepcopy(self.model)
        for module, name, tensor in list(_tables(copied)):
            if tensor.dtype not in _LOW:
                continue
            try:
                made = type(module)(config=module.config)._buffers[name]
            except (TypeError, AttributeError, KeyError):  # GPT-J's tables are attention's own
                return None
            module._buffers[name] = made.to(tensor.device)
        return replace(self, model=copied)


def _tables(hf_model: Any) -> Iterator[tuple[Any, str, Tensor]]:
    """The floating tables that modules hold beside their weights: module, name and tensor."""
    for module in hf_model.modules():
        for name, tensor in module._buffers.items():
            if tensor is not None and tensor.is_floating_point() and tensor.ndim:
                yield module, name, tensor


def reference_of(reference: Any, model: Transformer) -> Reference:
    """The model that a reference names, with the sizes of a model.

    Args:
        reference: a causal language model of `transformers` in memory; or a folder or hub id that it loads.
        model: the model that is checked.

    Raises:
        InvalidRequestError: the reference is none of these, cannot be loaded, has no weights in memory or no logits,
            or has another family or other sizes.
        MissingPackageError: transformers is not installed.
    """
    if isinstance(reference, str | os.PathLike):
        loaded, tokenizer, why_none = loaded_reference(reference, model)
        found = Reference(loaded, os.fspath(reference), tokenizer, why_none)
    else:
        found = _in_memory(reference)
    _check_same(model, found.model)
    return found


def _in_memory(reference: Any) -> Reference:
    reference = getattr(reference, "_orig_mod", reference)  # what torch.compile was given
    to_dict = getattr(getattr(reference, "config", None), "to_dict", None)
    if not isinstance(reference, torch.nn.Module) or to_dict is None:
        raise InvalidRequestError(
            f"The reference must be a transformers model in memory, not {type(reference).__name__}. Load one with "
            "from_pretrained, or give a folder or a hub id."
        )
    name = type(reference).__name__
    unembedding = getattr(reference, "get_output_embeddings", None)
    if unembedding is not None and unembedding() is None:
        raise InvalidRequestError(f"{name} gives no logits. Load the reference with AutoModelForCausalLM.")
    if any(weight.is_meta for weight in reference.parameters()):
        raise InvalidRequestError(f"The weights of {name} are not in memory (meta tensors). Load them first.")
    return Reference(reference, getattr(reference.config, "name_or_path", "") or name)


def _check_same(model: Transformer, hf_model: Any) -> None:
    """Refuse a reference that cannot have the same weights."""
    hf_config = hf_model.config.to_dict()
    theirs, ours = family_of(hf_config).config(hf_config), model.config
    for what in _SAME:
        if getattr(theirs, what) != getattr(ours, what):
            raise InvalidRequestError(
                f"The models differ: {what} is {getattr(ours, what)} here and {getattr(theirs, what)} in the reference."
            )
