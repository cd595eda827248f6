"""The configuration of a GGUF file, as a Hugging Face config."""

from typing import Any

from neuron_explainer.models.checkpoints.gguf_architectures.entries import Entries
from neuron_explainer.models.checkpoints.gguf_architectures.table import architecture_of
from neuron_explainer.models.tensor_files.gguf_file import GgufFile

_NULL_IS_A_VALUE = ("sliding_window", "attn_logit_softcapping", "final_logit_softcapping")


def config_from_gguf(file: GgufFile, *, warns: bool = False) -> dict[str, Any]:
    """The configuration of a GGUF file, with the entries of a Hugging Face `config.json`.

    Args:
        file: the file.
        warns: whether to warn of entries that this library does not know.

    Raises:
        MalformedCheckpointError: a size that every file of this architecture has is missing, or an entry is invalid.
        UnsupportedCheckpointError: the architecture is not supported, or an entry has a value that is not.
    """
    architecture = architecture_of(file)
    entries = Entries(file, file.metadata["general.architecture"])
    config = architecture.config(entries)
    entries.refuse_the_rest()
    if warns:
        entries.warn_of_unknown()
    return {entry: value for entry, value in config.items() if value is not None or entry in _NULL_IS_A_VALUE}
