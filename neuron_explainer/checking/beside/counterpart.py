"""The model beside which another is checked: one of `transformers`, in memory or loaded."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from neuron_explainer.errors import InvalidRequestError, MissingPackageError, shown
from neuron_explainer.models.families.registry import family_of
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.wording import in_a_sentence

_SAME = ("model_type", "n_layers", "d_model", "n_heads", "n_key_value_heads", "d_head", "d_mlp", "vocab_size")


@dataclass(frozen=True)
class Counterpart:
    """A model of `transformers`.

    Attributes:
        model: the model.
        name: what it is called in reports.
        tokenizer: its tokenizer; None of a model in memory.
    """

    model: Any
    name: str
    tokenizer: Any = None

    @property
    def can_be_copied(self) -> bool:
        """Whether a copy would be another model: one whose forward method was replaced would call the first one."""
        return not any("forward" in vars(module) for module in self.model.modules())

    def in_dtype(self, dtype: torch.dtype) -> Counterpart:
        """It in another dtype: itself, or a copy."""
        if next(self.model.parameters()).dtype == dtype:
            return self
        return Counterpart(copy.deepcopy(self.model).to(dtype), self.name, self.tokenizer)


def counterpart_of(reference: Any, model: Transformer) -> Counterpart:
    """The model that a reference names, with the sizes of a model.

    Args:
        reference: a causal language model of `transformers` in memory; or a folder or hub id that it loads.
        model: the model that is checked.

    Raises:
        InvalidRequestError: the reference is none of these, cannot be loaded, or has another family or other sizes.
        MissingPackageError: transformers is not installed.
    """
    found = _loaded(reference, model) if isinstance(reference, str | os.PathLike) else _in_memory(reference)
    _check_same(model, found.model)
    return found


def _in_memory(reference: Any) -> Counterpart:
    to_dict = getattr(getattr(reference, "config", None), "to_dict", None)
    if not isinstance(reference, torch.nn.Module) or to_dict is None:
        raise InvalidRequestError(
            f"The counterpart must be a transformers model in memory, not {type(reference).__name__}. Load one with "
            "from_pretrained, or give a folder or a hub id."
        )
    return Counterpart(reference, getattr(reference.config, "name_or_path", "") or type(reference).__name__)


def _loaded(reference: str | os.PathLike[str], model: Transformer) -> Counterpart:
    try:
        import transformers
    except ImportError:
        raise MissingPackageError("transformers", "transformers", "The reference is loaded by transformers") from None
    try:
        loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
            reference, dtype=model.dtype, trust_remote_code=False
        )
        tokenizer = _tokenizer(transformers, reference)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise InvalidRequestError(
            f"transformers cannot load {shown(os.fspath(reference))}: {in_a_sentence(error, 500)}"
        ) from error
    return Counterpart(loaded.to(model.device).eval(), os.fspath(reference), tokenizer)


def _tokenizer(transformers: Any, reference: str | os.PathLike[str]) -> Any:
    try:
        return transformers.AutoTokenizer.from_pretrained(reference, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError):
        return None


def _check_same(model: Transformer, hf_model: Any) -> None:
    """Refuse a counterpart that cannot have the same weights."""
    hf_config = hf_model.config.to_dict()
    theirs, ours = family_of(hf_config).config(hf_config), model.config
    for what in _SAME:
        if getattr(theirs, what) != getattr(ours, what):
            raise InvalidRequestError(
                f"The models differ: {what} is {getattr(ours, what)} here and {getattr(theirs, what)} in the "
                "counterpart."
            )


@contextmanager
def evaluating(hf_model: Any) -> Iterator[None]:
    """In evaluation mode, with attention written out, and afterwards as it was.

    The other implementations are no measure: by `sdpa`, a window that hides all tokens from padding gives NaN, which
    spreads to real tokens.
    """
    was_training, before = hf_model.training, getattr(hf_model.config, "_attn_implementation", None)
    can_choose = before not in (None, "eager") and chooses_attention(hf_model)
    hf_model.eval()
    try:
        if can_choose:
            hf_model.set_attn_implementation("eager")
        yield
    finally:
        if can_choose:
            hf_model.set_attn_implementation(before)
        hf_model.train(was_training)


def chooses_attention(hf_model: Any) -> bool:
    """Whether a model takes another implementation of attention after it was made; GPT-Neo and Falcon do not."""
    return hf_model.config.model_type not in ("falcon", "gpt_neo") and hasattr(hf_model, "set_attn_implementation")
