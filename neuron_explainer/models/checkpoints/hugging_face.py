"""Checkpoints in Hugging Face's layout: a local folder, or a model on the hub.

Of a model on the hub only `config.json`, the tokenizer's `tokenizer.json` and the safetensors files are fetched;
pickled weights (`.bin`) never are.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from neuron_explainer.errors import (
    CheckpointNotFoundError,
    MalformedCheckpointError,
    MissingTensorError,
    TokenizerError,
)
from neuron_explainer.models.checkpoints.checkpoint import Checkpoint, described
from neuron_explainer.models.tensor_files.safetensors_files import SafetensorsReader
from neuron_explainer.models.tokenizers.tokenizer import TOKENIZER_FILE_NAME, ModelTokenizer

CONFIG_FILE_NAME = "config.json"
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"


class FileSource(ABC):
    """A place that has files by name."""

    @abstractmethod
    def find(self, name: str) -> Path | None:
        """The local path of a file, fetched if need be; None if there is no such file."""

    @abstractmethod
    def describe_weights(self) -> str:
        """What is there in place of safetensors files, for an error's message."""


@dataclass(frozen=True)
class Folder(FileSource):
    """A folder on this machine."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def find(self, name: str) -> Path | None:
        """The file in the folder."""
        file = self.path / name
        return file if file.is_file() else None

    def describe_weights(self) -> str:
        """What the folder holds."""
        present = sorted(file.name for file in self.path.iterdir())
        return f"The folder holds {', '.join(present[:12]) or 'nothing'}{', …' if len(present) > 12 else ''}."


def open_huggingface_checkpoint(source: FileSource, config: Mapping[str, Any] | None = None) -> Checkpoint:
    """Describe the checkpoint in a folder or on the hub; weights are neither fetched nor read yet.

    Args:
        source: where the files are.
        config: in place of what `config.json` says.

    Raises:
        CheckpointError: a file is missing or malformed.
    """
    hf_config = read_config(source) if config is None else config
    transformer_config = described(
        hf_config, f"{CONFIG_FILE_NAME} of {source}" if config is None else "The given config"
    )

    def read_tokenizer() -> ModelTokenizer:
        file = source.find(TOKENIZER_FILE_NAME)
        if file is None:
            raise TokenizerError(
                f"{source} has no {TOKENIZER_FILE_NAME}. Pass `tokenizer=`: the path of one, a `tokenizers.Tokenizer`, "
                "or a fast tokenizer of transformers (which can make one of older files)."
            )
        return ModelTokenizer.from_file(file)

    def open_tensors() -> SafetensorsReader:
        return SafetensorsReader(_weight_files(source))

    return Checkpoint(hf_config, transformer_config, open_tensors, read_tokenizer)


def read_config(source: FileSource) -> dict[str, Any]:
    """What `config.json` says.

    Raises:
        CheckpointNotFoundError: there is none.
        MalformedCheckpointError: it is no JSON object.
    """
    file = source.find(CONFIG_FILE_NAME)
    if file is None:
        raise CheckpointNotFoundError(
            f"{source} has no {CONFIG_FILE_NAME}, so it is no model in Hugging Face's layout. "
            f"{source.describe_weights()}",
            file=source,
        )
    return _read_json(file)


def _weight_files(source: FileSource) -> list[Path]:
    """The safetensors files, one or the shards that the index names."""
    index_file = source.find(_INDEX)
    if index_file is None:
        file = source.find(_WEIGHTS)
        if file is None:
            raise CheckpointNotFoundError(
                f"{source} has neither {_WEIGHTS} nor {_INDEX}. {source.describe_weights()} Pickled weights (.bin) are "
                "not read, because reading them can run code; transformers' save_pretrained writes safetensors.",
                file=source,
            )
        return [file]
    weight_map = _read_json(index_file).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise MalformedCheckpointError(f"{index_file} has no weight_map.", file=index_file)
    files: dict[str, Path] = {}
    for tensor, name in weight_map.items():
        if name in files:
            continue
        if not isinstance(name, str) or PurePosixPath(name).name != name or not name.endswith(".safetensors"):
            raise MalformedCheckpointError(
                f"{index_file}: tensor {tensor!r} would be in {name!r}, which is no safetensors file beside the index.",
                file=index_file,
                tensor=tensor,
            )
        file = source.find(name)
        if file is None:
            raise CheckpointNotFoundError(
                f"{source} has no {name}, in which its index says that tensor {tensor!r} is.", file=name, tensor=tensor
            )
        files[name] = file
    _check_index(files, weight_map)
    return list(files.values())


def _check_index(files: Mapping[str, Path], weight_map: Mapping[str, str]) -> None:
    for name, file in files.items():
        held = SafetensorsReader([file]).names()
        for tensor, shard in weight_map.items():
            if shard == name and tensor not in held:
                raise MissingTensorError(
                    f"{file} does not hold tensor {tensor!r}, which the index says it does.", file=file, tensor=tensor
                )


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:
        raise MalformedCheckpointError(f"{file} is no JSON.", file=file) from error
    if not isinstance(content, dict):
        raise MalformedCheckpointError(f"{file} is no JSON object.", file=file)
    return content
