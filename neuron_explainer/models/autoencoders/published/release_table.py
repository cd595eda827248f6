"""SAELens' table of published autoencoders, read from the installed package without importing it."""

import functools
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_TABLE = "pretrained_saes.yaml"


@dataclass(frozen=True, eq=False)
class Release:
    """Autoencoders that were published together.

    Attributes:
        name: the release's name.
        repo_id: their repository on the hub.
        model_name: the model they were trained on.
        conversion: SAELens' name of the way in which they are stored; None means its own.
        folder_by_id: for each autoencoder's id, its folder (or file) in the repository.
        scale_by_id: the factor of all inputs, where it is not in the folder.
        settings: what the table says in addition to, and instead of, what a folder's `cfg.json` says.
    """

    name: str
    repo_id: str
    model_name: str
    conversion: str | None
    folder_by_id: Mapping[str, str]
    scale_by_id: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def has_table() -> bool:
    """Whether SAELens is installed."""
    return _table_file() is not None


def releases() -> Mapping[str, Release]:
    """The releases by name; none where SAELens is not installed."""
    file = _table_file()
    return {} if file is None else _read(file)


def releases_of(repo_id: str) -> list[Release]:
    """The releases whose autoencoders are in a repository, in any case."""
    return [release for release in releases().values() if release.repo_id.lower() == repo_id.lower()]


def _table_file() -> Path | None:
    spec = importlib.util.find_spec("sae_lens")
    file = None if spec is None or spec.origin is None else Path(spec.origin).parent / _TABLE
    return file if file is not None and file.is_file() else None


@functools.cache
def _read(file: Path) -> Mapping[str, Release]:
    import yaml  # huggingface_hub needs it, so it is there

    # The loader in C takes a tenth of the time, and is not in every build.
    entries = yaml.load(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return {
        name: Release(
            name,
            entry["repo_id"],
            entry["model"],
            entry.get("conversion_func"),
            {each["id"]: str(each["path"]) for each in entry["saes"]},
            {each["id"]: each["norm_scaling_factor"] for each in entry["saes"] if each.get("norm_scaling_factor")},
            entry.get("config_overrides") or {},
        )
        for name, entry in entries.items()
    }
