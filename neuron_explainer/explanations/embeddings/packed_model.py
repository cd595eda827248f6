"""The files of a sentence encoder in a zip archive, read within bounds; none of it is run or unpickled."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Annotated

import msgspec
import safetensors
import safetensors.torch
import tokenizers
from torch import Tensor

from neuron_explainer.errors import MalformedCheckpointError, TooLargeError, UnsupportedCheckpointError, shown
from neuron_explainer.explanations.embeddings.bert import BertSizes
from neuron_explainer.models.tokenizers.backend_errors import backend_errors, check_merges

MOST_ARCHIVE_BYTES = 2**30
_CONFIG, _TOKENIZER, _TENSORS = "config.json", "tokenizer.json", "model.safetensors"
_MOST_BYTES = {_CONFIG: 2**16, _TOKENIZER: 2**25, _TENSORS: 2**30}
_MOST_MEMBERS = 1000
_Size = Annotated[int, msgspec.Meta(ge=1, le=2**20)]


class _Config(msgspec.Struct):
    model_type: str
    vocab_size: _Size
    max_position_embeddings: _Size
    type_vocab_size: _Size
    hidden_size: _Size
    intermediate_size: _Size
    num_hidden_layers: Annotated[int, msgspec.Meta(ge=1, le=1000)]
    num_attention_heads: _Size
    hidden_act: str = "gelu"
    layer_norm_eps: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 1e-12
    position_embedding_type: str = "absolute"


def read_packed_model(path: Path) -> tuple[BertSizes, dict[str, Tensor], tokenizers.Tokenizer]:
    """The sizes, tensors and tokenizer of a BERT model in a zip archive.

    Args:
        path: the archive, with `config.json`, `tokenizer.json` and `model.safetensors`.

    Raises:
        MalformedCheckpointError: it is no such archive, or one of its files is damaged.
        UnsupportedCheckpointError: the model is of another kind.
        TooLargeError: the archive or a file in it is larger than any such model.
        TokenizerError: the tokenizer is damaged.
    """
    if path.stat().st_size > MOST_ARCHIVE_BYTES:
        raise TooLargeError(str(path), MOST_ARCHIVE_BYTES)
    try:
        with zipfile.ZipFile(path) as archive:
            config, tokenizer, tensors = (_member(archive, name, path) for name in (_CONFIG, _TOKENIZER, _TENSORS))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        if isinstance(error, MalformedCheckpointError | TooLargeError):
            raise
        raise MalformedCheckpointError(
            f"{path} cannot be read as a zip archive: {error}. Install its package again.", file=path
        ) from error
    sizes = _sizes(config, path)
    with backend_errors(f"{_TOKENIZER} in {path} cannot be read as a tokenizer"):
        check_merges(tokenizer, f"{_TOKENIZER} in {path}")
        backend = tokenizers.Tokenizer.from_buffer(tokenizer)
    try:
        return sizes, safetensors.torch.load(tensors), backend
    except (safetensors.SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise MalformedCheckpointError(
            f"{_TENSORS} in {path} is not a valid safetensors file: {error}", file=path
        ) from error


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    """A file of the archive; it is unpacked no further than the limit, whatever the archive says of its size."""
    if len(archive.filelist) > _MOST_MEMBERS or name not in archive.namelist():
        raise MalformedCheckpointError(f"{path} does not hold one model: {name} is not in it.", file=path)
    most = _MOST_BYTES[name]
    with archive.open(name) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise TooLargeError(f"{name} in {path}", most)
    return content


def _sizes(content: bytes, path: Path) -> BertSizes:
    try:
        config = msgspec.json.decode(content, type=_Config)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise MalformedCheckpointError(
            f"{_CONFIG} in {path} is not that of a BERT model: {error}", file=path
        ) from error
    kind = (config.model_type, config.hidden_act, config.position_embedding_type)
    if kind != ("bert", "gelu", "absolute") or config.hidden_size % config.num_attention_heads:
        raise UnsupportedCheckpointError(
            f"{path} holds a model of another kind ({', '.join(shown(each, 40) for each in kind)}, {config.hidden_size} "
            f"numbers in {config.num_attention_heads} heads). Give a BERT model with gelu and absolute positions.",
            file=path,
        )
    return BertSizes(
        config.vocab_size,
        config.max_position_embeddings,
        config.type_vocab_size,
        config.hidden_size,
        config.intermediate_size,
        config.num_hidden_layers,
        config.num_attention_heads,
        config.layer_norm_eps,
    )
