"""The checkpoint formats that `load_model` reads, and how to add one.

`docs/adding_a_loader.md` has a complete example.
"""

import os

from neuron_explainer.errors import (
    CheckpointNotFoundError,
    InvalidRequestError,
    UnsupportedCheckpointError,
    shown,
)
from neuron_explainer.models.checkpoints.checkpoint import Checkpoint
from neuron_explainer.models.checkpoints.checkpoint_format import CheckpointFormat, CheckpointSource, LoadOptions
from neuron_explainer.models.checkpoints.gguf import GgufFormat
from neuron_explainer.models.checkpoints.hugging_face import HuggingFaceFolder, HuggingFaceHub, looks_like_path
from neuron_explainer.models.checkpoints.tdb import TransformerDebuggerPieces
from neuron_explainer.models.format_registry import add_format
from neuron_explainer.models.hub.cache import cached_sentence
from neuron_explainer.models.model_registry import find_registered_model, get_registered_model, unknown_model
from neuron_explainer.storage.locations import expanded, without_secrets
from neuron_explainer.vocabulary.checks import checked_type

CHECKPOINT_FORMATS: list[CheckpointFormat] = [
    GgufFormat(),
    TransformerDebuggerPieces(),
    HuggingFaceFolder(),
    HuggingFaceHub(),
]
"""The formats, in the order in which they are asked. What is on this machine comes before the hub."""


def register_checkpoint_format(checkpoint_format: CheckpointFormat, *, replace: bool = False) -> None:
    """Let `load_model` read another checkpoint format. It is asked before the formats registered earlier.

    Args:
        checkpoint_format: the format; `docs/adding_a_loader.md` shows how to write one.
        replace: take the place of a format of the same name.

    Raises:
        InvalidRequestError: a format of this name exists and `replace` is not set, or `checkpoint_format` is not an
            instance of `CheckpointFormat`.
    """
    checked_type("checkpoint_format", checkpoint_format, CheckpointFormat)  # type: ignore[type-abstract]  # it only asks isinstance
    add_format(CHECKPOINT_FORMATS, checkpoint_format, replace=replace)


def open_checkpoint(source: CheckpointSource, options: LoadOptions) -> Checkpoint:
    """Describe the checkpoint that a registered name, a path, an address or a hub id stands for.

    Args:
        source: registered names come first, then files on this machine, then the hub.
        options: the other arguments of `load_model`.

    Raises:
        UnknownNameError: the source looks like a name, and no model has it.
        CheckpointNotFoundError: the path does not exist.
        UnsupportedCheckpointError: no format matches; the error lists the formats.
        InvalidRequestError: a revision was given for a format without revisions.
        CheckpointError: a file is missing or malformed, or the model is not supported.
    """
    if isinstance(source, str) and (not source or find_registered_model(source) is not None):
        return _open_registered(source, options)
    return _open(source, options)


def _open_registered(name: str, options: LoadOptions) -> Checkpoint:
    """As `open_checkpoint`; an error says what the name stands for."""
    source = get_registered_model(name).source()
    try:
        return _open(source, options)
    except CheckpointNotFoundError as error:
        raise CheckpointNotFoundError(
            f"The model {shown(name)} is {source}. {error} A folder with its files is loaded by its path.",
            file=error.file,
        ) from error


def _open(source: CheckpointSource, options: LoadOptions) -> Checkpoint:
    checkpoint_format = next((each for each in CHECKPOINT_FORMATS if each.matches(source, options)), None)
    if checkpoint_format is None:
        raise _unmatched(source)
    if options.revision is not None and not checkpoint_format.has_revisions:
        raise InvalidRequestError(
            f"{without_secrets(source)} is a {checkpoint_format.name}, which has no revisions. Leave "
            f"revision={shown(without_secrets(options.revision))} out."
        )
    return checkpoint_format.open(source, options)


def _unmatched(source: CheckpointSource) -> Exception:
    path = expanded(source)
    formats = ", ".join(each.name for each in CHECKPOINT_FORMATS)
    if os.path.exists(path):
        return UnsupportedCheckpointError(
            f"{path} is not in a checkpoint format that this library reads: {formats}. For a file of a Hugging Face "
            "checkpoint, pass the folder that contains it.",
            file=path,
        )
    if isinstance(source, str) and not looks_like_path(source):
        return unknown_model(source, cached_sentence(source))
    return CheckpointNotFoundError(f"{path} does not exist. Supported sources: {formats}.", file=path)
