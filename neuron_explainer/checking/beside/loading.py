"""References that `transformers` loads from a folder or from the hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from neuron_explainer.errors import InvalidRequestError, MissingPackageError, shown
from neuron_explainer.models.model_registry import find_registered_model
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.wording import in_a_sentence

_N_NAMED = 3
_OF_TOKENIZERS = ("tokenizer", "vocab", "spiece", "sentencepiece")


def loaded_reference(reference: str | os.PathLike[str], model: Transformer) -> tuple[Any, Any, str | None]:
    """A model of `transformers` with the dtype and device of ours; its tokenizer, or None; and why there is none.

    Args:
        reference: a folder or a hub id.
        model: the model that is checked.

    Raises:
        InvalidRequestError: there is no such folder, it cannot be loaded, or weights are missing in it.
        MissingPackageError: transformers is not installed.
    """
    try:
        import transformers
    except ImportError:
        raise MissingPackageError("transformers", "transformers", "The reference is loaded by transformers") from None
    _refuse_what_is_no_reference(reference)
    name = os.fspath(reference)
    load: Any = transformers.AutoModelForCausalLM.from_pretrained
    try:
        loaded, info = load(reference, dtype=model.dtype, trust_remote_code=False, output_loading_info=True)
    except Exception as error:  # safetensors' own error of a damaged file, and whatever a damaged config leads to
        raise InvalidRequestError(f"transformers cannot load {shown(name)}: {in_a_sentence(error, 500)}") from error
    missing = sorted(info["missing_keys"])
    if missing:
        others = f" and {len(missing) - _N_NAMED:,} more" if len(missing) > _N_NAMED else ""
        raise InvalidRequestError(
            f"{shown(name)} has no {', '.join(missing[:_N_NAMED])}{others}, which transformers then fills with random "
            "numbers. Give a reference with all weights."
        )
    return loaded.to(model.device).eval(), *_tokenizer(transformers, reference)


def _refuse_what_is_no_reference(reference: str | os.PathLike[str]) -> None:
    name = os.fspath(reference)
    if os.path.isdir(name):
        return
    if os.path.exists(name):
        raise InvalidRequestError(f"The reference {shown(name)} is a file. Give the folder that it is in, or a hub id.")
    known = find_registered_model(name) if name.strip() and "/" not in name else None
    if known is not None and (known.hub_id or "").rpartition("/")[2] != name:  # the hub knows "gpt2" by this name, too
        hub_id = "" if known.hub_id is None else f" its hub id {known.hub_id!r},"
        raise InvalidRequestError(
            f"{shown(name)} is a name of this library, and transformers loads references. Give{hub_id} a folder "
            "or a model in memory."
        )
    is_path = not isinstance(reference, str) or name.startswith((".", "~", os.sep)) or name.count("/") > 1
    if is_path or "\\" in name or not name.strip():
        raise InvalidRequestError(
            f"The reference {shown(name)} does not exist. Give a folder that transformers can load, or a hub id."
        )


def _tokenizer(transformers: Any, reference: str | os.PathLike[str]) -> tuple[Any, str | None]:
    try:
        return transformers.AutoTokenizer.from_pretrained(reference, trust_remote_code=False), None
    except Exception as error:  # tokenizers raises plain ones
        folder = Path(reference)
        if folder.is_dir() and not any(each.name.startswith(_OF_TOKENIZERS) for each in folder.iterdir()):
            return None, None
        return None, f"The reference's tokenizer cannot be read: {in_a_sentence(error)}"
