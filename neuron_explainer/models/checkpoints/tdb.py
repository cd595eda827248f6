"""Transformer Debugger's checkpoints: a `config.json` and a folder of pieces, one `.pt` file per tensor.

They hold GPT-2 with separate queries, keys and values, and matrices as (outputs, inputs). Here they get the names and
the form of Hugging Face's GPT-2.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuron_explainer.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    MalformedCheckpointError,
    MisconfiguredError,
    MissingFileError,
    TensorShapeError,
    TokenizerError,
    UnsupportedCheckpointError,
    shown,
)
from neuron_explainer.models.checkpoints.checkpoint import Checkpoint, transformer_config
from neuron_explainer.models.checkpoints.checkpoint_format import CheckpointFormat, CheckpointSource, LoadOptions
from neuron_explainer.models.checkpoints.file_source import CONFIG_FILE_NAME, Folder, json_object, read_config
from neuron_explainer.models.checkpoints.tdb_pieces import FOLDER_OF_PIECES, TdbReader, read_embedding
from neuron_explainer.models.families.config_entries import (
    MOST_CHANNELS,
    MOST_LAYERS,
    MOST_POSITIONS,
    checked_entries,
    positive,
    size,
)
from neuron_explainer.models.tokenizers.tokenizer import TOKENIZER_FILE_NAME, ModelTokenizer
from neuron_explainer.storage.local import is_local_folder
from neuron_explainer.storage.locations import expanded, is_url, joined, without_secrets
from neuron_explainer.storage.reading import read_bytes
from neuron_explainer.vocabulary.checks import whole_number

GPT2_HUB_ID = "openai-community/gpt2"
_CONFIG_KEYS = ("ctx_window", "d_model", "n_layers", "n_heads")
_ENTRIES = {
    "ctx_window": size(MOST_POSITIONS),
    "d_model": size(MOST_CHANNELS),
    "n_layers": size(MOST_LAYERS),
    "n_heads": size(MOST_CHANNELS),
    "m_mlp": positive(1000.0),
}


class TransformerDebuggerPieces(CheckpointFormat):
    """A folder or an address with Transformer Debugger's `config.json` and `model_pieces`."""

    name = "folder or address of Transformer Debugger's pieces"

    def matches(self, source: CheckpointSource, options: LoadOptions) -> bool:
        """Any address, and a folder whose config is Transformer Debugger's."""
        if isinstance(source, str) and is_url(source):
            return True
        folder = expanded(source)
        if not is_local_folder(folder):
            return False
        try:
            return is_tdb_config(options.config or read_config(Folder(folder)))
        except CheckpointError:  # another format reports what is wrong with the config
            return False

    def open(self, source: CheckpointSource, options: LoadOptions) -> Checkpoint:
        """See the base class."""
        root = source if isinstance(source, str) and is_url(source) else str(expanded(source))
        return open_tdb_checkpoint(root, options.config or read_tdb_config(root), options.token)


def open_tdb_checkpoint(root: str, config: Mapping[str, Any], token: str | bool | None = None) -> Checkpoint:
    """Describe the checkpoint at `root`, a folder or an address; only one weight, the embedding, is read.

    Args:
        root: where `config.json` and `model_pieces` are.
        config: the entries of `config.json`.
        token: for the hub, from which GPT-2's tokenizer comes if the checkpoint has none.

    Raises:
        CheckpointError: the config is incomplete, or describes something other than GPT-2.
    """
    place, config_file = without_secrets(root), joined(without_secrets(root), CONFIG_FILE_NAME)
    missing = [key for key in _CONFIG_KEYS if whole_number(config.get(key)) is None]
    if missing:
        raise MalformedCheckpointError(
            f"{place}: the config has no whole number for {', '.join(missing)}; "
            f"it has {shown(sorted(map(str, config)))}.",
            file=config_file,
        )
    try:
        config = checked_entries(config, _ENTRIES)
    except MisconfiguredError as error:
        raise MalformedCheckpointError(f"{place}: {error}", file=config_file) from error
    if config.get("m_attn", 1) != 1:
        raise UnsupportedCheckpointError(
            f"{place}: m_attn is {shown(config['m_attn'])}. Only 1 is supported: attention as wide as the residual "
            "stream.",
            file=config_file,
        )
    vocab_size, width = read_embedding(root).shape
    if width != config["d_model"]:
        raise TensorShapeError(
            f"{place}: the embedding has {width} channels; by the config it must have {config['d_model']}.",
            file=config_file,
        )
    hf_config = {
        "model_type": "gpt2",
        "n_layer": config["n_layers"],
        "n_head": config["n_heads"],
        "n_embd": config["d_model"],
        "n_inner": int(config["d_model"] * config.get("m_mlp", 4)),
        "n_positions": config["ctx_window"],
        "vocab_size": vocab_size,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": False,
    }

    def read_tokenizer() -> ModelTokenizer:
        if not is_url(root) and (Path(root) / TOKENIZER_FILE_NAME).is_file():
            return ModelTokenizer.from_file(root)
        if config.get("enc", "gpt2") != "gpt2":
            raise TokenizerError(
                f"{place} names the tokenizer {shown(config['enc'])}; only 'gpt2' is supported. Pass `tokenizer=`."
            )
        return _gpt2_tokenizer(place, token)

    return Checkpoint(
        hf_config,
        transformer_config(hf_config, place),
        lambda: TdbReader(root, hf_config),
        read_tokenizer,
        is_here=not is_url(root),
    )


def read_tdb_config(root: str) -> dict[str, Any]:
    """The entries of `config.json` at `root`, a folder or an address.

    Raises:
        CheckpointNotFoundError: `config.json` was not found.
        MalformedCheckpointError: it is not a JSON object.
        DownloadError: the address could not be read.
    """
    location = joined(root, CONFIG_FILE_NAME)
    place = without_secrets(location)
    try:
        content = read_bytes(location)
    except MissingFileError as error:
        raise CheckpointNotFoundError(
            f"{place} does not exist. A model at an address must be a Transformer Debugger checkpoint: a "
            f"{CONFIG_FILE_NAME} and a folder {FOLDER_OF_PIECES}.",
            file=place,
        ) from error
    return json_object(content, place)


def is_tdb_config(config: Mapping[str, Any]) -> bool:
    """Whether a config is Transformer Debugger's rather than Hugging Face's."""
    return "model_type" not in config and all(key in config for key in _CONFIG_KEYS)


def _gpt2_tokenizer(root: str, token: str | bool | None) -> ModelTokenizer:
    # Imported here: the hub's client takes a while.
    from neuron_explainer.models.checkpoints.hub import HubModel

    file = HubModel(GPT2_HUB_ID, token=token).find(TOKENIZER_FILE_NAME)
    if file is None:
        raise CheckpointNotFoundError(
            f"{root} has no tokenizer, and GPT-2's could not be downloaded from the hub. Pass `tokenizer=` the path of "
            "its tokenizer.json.",
            file=TOKENIZER_FILE_NAME,
        )
    return ModelTokenizer.from_file(file)
