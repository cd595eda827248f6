"""The base class of checkpoint formats: how a source is recognised, and how it is opened."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuron_explainer.models.checkpoints.checkpoint import Checkpoint

CheckpointSource = str | Path
"""A path, an address or a hub id. Only a `str` can be an address or a hub id; a `Path` is always on this machine."""


@dataclass(frozen=True)
class LoadOptions:
    """The arguments of `load_model` that a format may need, besides the source.

    Attributes:
        config: replaces the checkpoint's own configuration; in Hugging Face's form, or the format's own.
        revision: a branch, tag or commit.
        token: an access token for the hub; None means the one that this machine is logged in with.
        pickled: whether pickled weights may be read, if there are no others.
    """

    config: Mapping[str, Any] | None = None
    revision: str | None = None
    token: str | bool | None = None
    pickled: bool = False


class CheckpointFormat(ABC):
    """One way in which a model's files are stored. Instances hold no state.

    Attributes:
        name: what errors call it, such as "GGUF file".
        has_revisions: whether `revision` chooses one of several versions; other formats refuse it.
    """

    name: str
    has_revisions: bool = False

    @abstractmethod
    def matches(self, source: CheckpointSource, options: LoadOptions) -> bool:
        """Whether the source looks like this format. Cheap: no weights are read, nothing is downloaded."""

    @abstractmethod
    def open(self, source: CheckpointSource, options: LoadOptions) -> Checkpoint:
        """Describe the checkpoint; its weights are read later, one by one.

        Raises:
            CheckpointError: a file is missing or malformed, or the model is not supported.
        """
