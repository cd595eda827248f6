"""A hub's cache on this machine, filled with files as a download leaves them."""

from pathlib import Path

COMMIT = "c" * 40


def cached_folder(cache: Path, hub_id: str, folder: str = "", *, branches: tuple[str, ...] = ("main",)) -> Path:
    """The folder of a repository in the cache, made if necessary; whatever is put there is as if downloaded."""
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    for branch in branches:
        (repository / "refs" / branch).write_text(COMMIT)
    found = repository / "snapshots" / COMMIT / folder
    found.mkdir(parents=True, exist_ok=True)
    return found
