"""Checkpoints in Hugging Face's layout: a local folder, or a model on the hub.

From the hub, only the configs (`config.json`, `generation_config.json`, `tokenizer_config.json`), `tokenizer.json`, the
chat template and the safetensors files are downloaded; pickled weights (`.bin`) are only if they are asked for.
"""

import os
from collections.abc import Mapping
from typing import Any

from neuron_explainer.errors import (
    TokenizerError,
)
from neuron_explainer.models.checkpoints.checkpoint import Checkpoint, transformer_config
from neuron_explainer.models.checkpoints.checkpoint_format import CheckpointFormat, CheckpointSource, LoadOptions
from neuron_explainer.models.checkpoints.end_tokens import GENERATION_CONFIG_FILE_NAME
from neuron_explainer.models.checkpoints.file_source import (
    CONFIG_FILE_NAME,
    FileSource,
    Folder,
    read_config,
    read_json_object,
)
from neuron_explainer.models.checkpoints.quantised import (
    is_dequantised_here,
    refuse_quantised_config,
    refuse_quantised_tensors,
)
from neuron_explainer.models.checkpoints.weight_files import WeightsReader, open_weights
from neuron_explainer.models.tensor_files.mxfp4 import Mxfp4Reader
from neuron_explainer.models.tensor_files.safetensors_files import SafetensorsReader
from neuron_explainer.models.tokenizers.tokenizer import TOKENIZER_FILE_NAME, ModelTokenizer
from neuron_explainer.storage.local import is_local_folder
from neuron_explainer.storage.locations import expanded


class HuggingFaceFolder(CheckpointFormat):
    """A folder with `config.json`, `tokenizer.json` and safetensors files, sharded or not."""

    name = "Hugging Face folder"

    def matches(self, source: CheckpointSource, options: LoadOptions) -> bool:
        """Any folder: missing files are reported when it is opened."""
        return is_local_folder(expanded(source))

    def open(self, source: CheckpointSource, options: LoadOptions) -> Checkpoint:
        """See the base class."""
        return open_hugging_face_checkpoint(Folder(expanded(source)), options.config, options.pickled)


class HuggingFaceHub(CheckpointFormat):
    """A model on the hub, "owner/name". A name without a slash is never taken for one."""

    name = "Hugging Face hub id (owner/name)"
    has_revisions = True

    def matches(self, source: CheckpointSource, options: LoadOptions) -> bool:
        """Whether the text has the form of a hub id, and nothing on this machine has that path."""
        return isinstance(source, str) and looks_like_hub_id(source) and not os.path.exists(source)

    def open(self, source: CheckpointSource, options: LoadOptions) -> Checkpoint:
        """See the base class."""
        # Imported here: the hub's client takes a while, and most models that are loaded are on this machine.
        from neuron_explainer.models.checkpoints.hub import HubModel

        model = HubModel(str(source), revision=options.revision, token=options.token)
        return open_hugging_face_checkpoint(model, options.config, options.pickled)


def looks_like_hub_id(source: str) -> bool:
    """Whether a text has the form "owner/name"."""
    return source.count("/") == 1 and not looks_like_path(source) and all(source.split("/"))


def looks_like_path(source: str) -> bool:
    """Whether a text can only be a path: it begins like one, or ends like a file's name."""
    return source.startswith((".", "~", "/")) or "\\" in source or source.endswith((".gguf", CONFIG_FILE_NAME))


def open_hugging_face_checkpoint(
    source: FileSource, config: Mapping[str, Any] | None = None, pickled: bool = False
) -> Checkpoint:
    """Describe the checkpoint in a folder or on the hub; weights are neither downloaded nor read yet.

    Args:
        source: where the files are.
        config: used instead of `config.json`.
        pickled: read pickled weights if there are no others; see `weight_files`.

    Raises:
        CheckpointError: a file is missing or malformed.
    """
    hf_config = read_config(source) if config is None else config
    config_name = f"{CONFIG_FILE_NAME} of {source}" if config is None else "The given config"

    def read_tokenizer() -> ModelTokenizer:
        file = source.find(TOKENIZER_FILE_NAME)
        if file is None:
            raise TokenizerError(
                f"{source} has no {TOKENIZER_FILE_NAME}. Pass `tokenizer=`: the path of one, a `tokenizers.Tokenizer`, "
                "or a fast tokenizer of transformers (which can build one from older files)."
            )
        return ModelTokenizer.from_file(file, source)

    has_mxfp4 = is_dequantised_here(hf_config)

    def open_tensors() -> WeightsReader:
        reader: WeightsReader = open_weights(source, pickled)
        if has_mxfp4 and isinstance(reader, SafetensorsReader):
            reader = Mxfp4Reader(reader)
        refuse_quantised_tensors({name: reader.dtype(name) for name in reader.names()}, hf_config, reader.where())
        return reader

    if not has_mxfp4:
        refuse_quantised_config(hf_config, config_name)
    described = transformer_config(hf_config, config_name)
    generation_file = source.find(GENERATION_CONFIG_FILE_NAME)
    generation_config = {} if generation_file is None else read_json_object(generation_file)
    is_here = isinstance(source, Folder)
    return Checkpoint(hf_config, described, open_tensors, read_tokenizer, generation_config, is_here)
