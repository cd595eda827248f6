"""Loading a model, from whatever holds it: a name, a folder, the hub, an address, a GGUF file, or memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from neuron_explainer.errors import (
    CheckpointNotFoundError,
    InvalidRequestError,
    UnsupportedCheckpointError,
)
from neuron_explainer.models.checkpoints.checkpoint import Checkpoint
from neuron_explainer.models.checkpoints.gguf import open_gguf_checkpoint
from neuron_explainer.models.checkpoints.hugging_face import (
    CONFIG_FILE_NAME,
    Folder,
    open_huggingface_checkpoint,
    read_config,
)
from neuron_explainer.models.checkpoints.in_memory import config_of, transformer_from_module
from neuron_explainer.models.checkpoints.tdb import is_tdb_config, open_tdb_checkpoint, read_tdb_config
from neuron_explainer.models.devices import as_device, as_dtype
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.models.model_registry import MODEL_REGISTRY, get_registered_model
from neuron_explainer.models.tokenizers.tokenizer import TOKENIZER_FILE_NAME, ModelTokenizer
from neuron_explainer.storage.locations import is_url, without_secrets

GPT2_HUB_ID = "openai-community/gpt2"


@dataclass(frozen=True)
class _HubAccess:
    """How the hub is asked."""

    revision: str | None
    token: str | bool | None


def load_model(
    source: Any,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    tokenizer: Any = None,
    config: Any = None,
    name: str | None = None,
) -> StandardModelContext:
    """Load a model, so that it can be looked into.

    Weights are read tensor by tensor, straight into the requested dtype and device, so no more memory is needed than
    the model takes. Every weight is checked to be finite, which costs one pass over them.

    Args:
        source: one of
            - a registered name: "tiny" (comes with this library), "gpt2-small", "gpt2-medium", "gpt2-large", "gpt2-xl",
              "smollm2-135m", or what `register_model` added;
            - the path of a folder in Hugging Face's layout (config.json, tokenizer.json, safetensors, sharded or not);
            - the path of a folder, or the address, of Transformer Debugger's pieces;
            - the path of a GGUF file of a llama model;
            - a model on the Hugging Face hub, "owner/name";
            - a `transformers` model in memory: its weights are shared, not copied, and nothing is fetched. (What
              `device` or `dtype` change is copied.)
        device: where the weights are to be; None means CUDA if there is one, else the CPU, and for a model in memory
            where it is.
        dtype: what the weights are to be, "float32" (also for None), "bfloat16", "float16" or "float64"; for a model in
            memory None leaves them as they are.
        revision: a branch, tag or commit on the hub.
        token: for models on the hub that need one.
        tokenizer: in place of the one that comes with the model: a fast tokenizer of transformers, a
            `tokenizers.Tokenizer`, or the path of a tokenizer.json. Nothing is fetched for it then. A model in memory
            comes with none.
        config: in place of the model's config.json: a dict like it, or a transformers config; its `model_type` names
            the family.
        name: what to call the model; else it is called as it was asked for.

    Raises:
        UnknownNameError: there is no model of that name; the error lists those that there are.
        CheckpointError: files or tensors are missing, unexpected, misshapen, cut off or not finite, or the family is
            not supported; the error names the file and the tensor.
        TokenizerError: the tokenizer cannot be read, or is not the model's.
        DownloadError: the network did not give what was asked.
    """
    context = open_model(
        source,
        device=device,
        dtype=dtype,
        revision=revision,
        token=token,
        tokenizer=tokenizer,
        config=config,
        name=name,
    )
    context.get_or_create_model()
    return context


def open_model(
    source: Any,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    tokenizer: Any = None,
    config: Any = None,
    name: str | None = None,
) -> StandardModelContext:
    """The same as `load_model`, but weights are read when they are first needed."""
    given_tokenizer = None if tokenizer is None else ModelTokenizer.of(tokenizer)
    if config is not None and not isinstance(config, Mapping):
        config = config_of(config, "The given config")
    if isinstance(source, torch.nn.Module):
        if revision is not None or token is not None:
            raise InvalidRequestError("A model in memory has no revision and needs no token; leave them out.")
        hf_config, transformer = transformer_from_module(source, config, device=device, dtype=dtype)
        came_from = getattr(getattr(source, "config", None), "_name_or_path", "")
        model_name = name or (_name_of(came_from) if came_from else type(source).__name__)
        return StandardModelContext(model_name, transformer, given_tokenizer, end_token_ids=_end_token_ids(hf_config))
    if not isinstance(source, str | PathLike):
        raise InvalidRequestError(
            f"A {type(source).__name__} is no model; give a name, a path, an address, a hub id or a transformers model."
        )
    checkpoint = _open_checkpoint(source, config, _HubAccess(revision, token))
    wanted_device, wanted_dtype = as_device(device), as_dtype(dtype)
    return StandardModelContext(
        name or _name_of(source),
        tokenizer=given_tokenizer or checkpoint.read_tokenizer(),
        config=checkpoint.config,
        device=wanted_device,
        create=lambda: checkpoint.create_transformer(dtype=wanted_dtype, device=wanted_device),
        end_token_ids=_end_token_ids(checkpoint.hf_config),
    )


def _open_checkpoint(source: str | PathLike[str], config: Mapping[str, Any] | None, access: _HubAccess) -> Checkpoint:
    """The checkpoint that a name, path, address or hub id stands for.

    A registered name comes first, then what is on this machine. What has no slash is never taken for a hub id.
    """
    if isinstance(source, str):
        if source in MODEL_REGISTRY or not source:
            return _open_checkpoint(get_registered_model(source).source(), config, access)
        if is_url(source):
            _refuse_revision(source, access)
            return _open_tdb(source, config or read_tdb_config(source), access)
    path = Path(source).expanduser()
    if path.exists():
        _refuse_revision(path, access)
    if path.is_dir():
        return _open_folder(path, config, access)
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise UnsupportedCheckpointError(
                f"{path} is a single file that is no GGUF file; give the folder that it is in.", file=path
            )
        return open_gguf_checkpoint(path, config)
    if isinstance(source, str) and _looks_like_hub_id(source):
        return open_huggingface_checkpoint(_hub_model(source, access), config)
    if isinstance(source, str) and not _looks_like_path(source):
        get_registered_model(source)  # raises, with the names that there are
    raise CheckpointNotFoundError(f"There is no {path}.", file=path)


def _refuse_revision(source: object, access: _HubAccess) -> None:
    if access.revision is not None:
        raise InvalidRequestError(
            f"A revision is a version on the Hugging Face hub, and {source} is not there; leave revision="
            f"{access.revision!r} out."
        )


def _open_folder(path: Path, config: Mapping[str, Any] | None, access: _HubAccess) -> Checkpoint:
    folder = Folder(path)
    found = read_config(folder) if config is None else config
    if is_tdb_config(found):
        return _open_tdb(str(path), found, access)
    return open_huggingface_checkpoint(folder, config)


def _open_tdb(root: str, config: Mapping[str, Any], access: _HubAccess) -> Checkpoint:
    def gpt2_tokenizer() -> ModelTokenizer:
        file = _hub_model(GPT2_HUB_ID, _HubAccess(None, access.token)).find(TOKENIZER_FILE_NAME)
        if file is None:
            raise CheckpointNotFoundError(
                f"{without_secrets(root)} comes without a tokenizer, and GPT-2's could not be fetched from the hub. Pass "
                "`tokenizer=` the path of its tokenizer.json.",
                file=TOKENIZER_FILE_NAME,
            )
        return ModelTokenizer.from_file(file)

    return open_tdb_checkpoint(root, config, gpt2_tokenizer)


def _name_of(source: str | PathLike[str]) -> str:
    """What a model is called that was asked for so; of a path the last part, for where it lies is nobody's business."""
    if isinstance(source, str) and (source in MODEL_REGISTRY or is_url(source)):
        return without_secrets(source)
    path = Path(source).expanduser()
    if not path.exists():
        return str(source)
    return path.resolve().stem if path.is_file() else path.resolve().name


def _hub_model(hub_id: str, access: _HubAccess) -> Any:
    # Imported here: the hub's client takes a while, and most of what is loaded is on this machine.
    from neuron_explainer.models.checkpoints.hub import HubModel

    return HubModel(hub_id, revision=access.revision, token=access.token)


def _looks_like_hub_id(source: str) -> bool:
    return source.count("/") == 1 and not _looks_like_path(source) and all(source.split("/"))


def _looks_like_path(source: str) -> bool:
    return source.startswith((".", "~", "/")) or "\\" in source or source.endswith((".gguf", CONFIG_FILE_NAME))


def _end_token_ids(hf_config: Mapping[str, Any]) -> Sequence[int]:
    ids = hf_config.get("eos_token_id")
    if ids is None:
        return ()
    return tuple(ids) if isinstance(ids, Sequence) else (ids,)
