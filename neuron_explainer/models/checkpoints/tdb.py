"""Transformer Debugger's checkpoints: a `config.json` and a folder of pieces, one `.pt` file a tensor.

They hold GPT-2 with queries, keys and values apart and matrices as (outputs, inputs); here they take the names and the
form that Hugging Face's GPT-2 has.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from neuron_explainer.errors import (
    CheckpointNotFoundError,
    MalformedCheckpointError,
    MissingFileError,
    TokenizerError,
    UnsupportedCheckpointError,
)
from neuron_explainer.models.checkpoints.checkpoint import Checkpoint, described
from neuron_explainer.models.checkpoints.tdb_pieces import FOLDER_OF_PIECES, TdbReader, read_embedding
from neuron_explainer.models.tokenizers.tokenizer import TOKENIZER_FILE_NAME, ModelTokenizer
from neuron_explainer.storage.locations import is_url, joined, without_secrets
from neuron_explainer.storage.reading import read_bytes

_CONFIG_KEYS = ("ctx_window", "d_model", "n_layers", "n_heads")


def open_tdb_checkpoint(
    root: str, config: Mapping[str, Any], gpt2_tokenizer: Callable[[], ModelTokenizer]
) -> Checkpoint:
    """Describe the checkpoint at `root`, a folder or an address; no weight is read yet.

    Args:
        root: where `config.json` and `model_pieces` are.
        config: what `config.json` says.
        gpt2_tokenizer: gives GPT-2's tokenizer, which such a checkpoint only names.

    Raises:
        CheckpointError: the config is incomplete, or asks for what GPT-2 does not have.
    """
    missing = [key for key in _CONFIG_KEYS if not isinstance(config.get(key), int)]
    if missing:
        raise MalformedCheckpointError(
            f"{without_secrets(root)}: the config has no whole number for {', '.join(missing)}; it has {sorted(config)}.",
            file=joined(without_secrets(root), "config.json"),
        )
    if config.get("m_attn", 1) != 1:
        raise UnsupportedCheckpointError(
            f"{without_secrets(root)}: m_attn is {config['m_attn']}; only 1 (attention as wide as the residual stream) is read.",
            file=joined(without_secrets(root), "config.json"),
        )
    hf_config = {
        "model_type": "gpt2",
        "n_layer": config["n_layers"],
        "n_head": config["n_heads"],
        "n_embd": config["d_model"],
        "n_inner": int(config["d_model"] * config.get("m_mlp", 4)),
        "n_positions": config["ctx_window"],
        "vocab_size": read_embedding(root).shape[0],
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": False,
    }

    def read_tokenizer() -> ModelTokenizer:
        if not is_url(root) and (Path(root) / TOKENIZER_FILE_NAME).is_file():
            return ModelTokenizer.from_file(root)
        if config.get("enc", "gpt2") != "gpt2":
            raise TokenizerError(
                f"{without_secrets(root)} names the tokenizer {config['enc']!r}, which is not known; pass `tokenizer=` one."
            )
        return gpt2_tokenizer()

    return Checkpoint(hf_config, described(hf_config, root), lambda: TdbReader(root, hf_config), read_tokenizer)


def read_tdb_config(root: str) -> dict[str, Any]:
    """What `config.json` at `root`, a folder or an address, says.

    Raises:
        CheckpointNotFoundError: there is none.
        MalformedCheckpointError: it is no JSON object.
        DownloadError: the address could not be read.
    """
    location = joined(root, "config.json")
    try:
        config = json.loads(read_bytes(location))
    except MissingFileError as error:
        raise CheckpointNotFoundError(
            f"There is no {without_secrets(location)}. At an address, Transformer Debugger's checkpoints are read: a config.json "
            f"and a folder {FOLDER_OF_PIECES}.",
            file=without_secrets(location),
        ) from error
    except ValueError as error:
        raise MalformedCheckpointError(
            f"{without_secrets(location)} is no JSON.", file=without_secrets(location)
        ) from error
    if not isinstance(config, dict):
        raise MalformedCheckpointError(
            f"{without_secrets(location)} is no JSON object.", file=without_secrets(location)
        )
    return config


def is_tdb_config(config: Mapping[str, Any]) -> bool:
    """Whether a config is Transformer Debugger's, rather than Hugging Face's."""
    return "model_type" not in config and all(key in config for key in _CONFIG_KEYS)
