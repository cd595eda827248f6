"""What is in the hub's cache on this machine."""

from pathlib import Path

from neuron_explainer.errors import nearest_first
from neuron_explainer.wording import N_LISTED, N_NEAREST


def cached_repositories(file_name: str = "config.json") -> list[str]:
    """The hub ids in the cache, in alphabetical order: those of which some version has a file of this name.

    Args:
        file_name: the file, or a pattern with `*`. Every model has its config.
    """
    import huggingface_hub.constants  # it alone is quick to import

    return sorted(
        folder.name.removeprefix("models--").replace("--", "/", 1)
        for folder in Path(huggingface_hub.constants.HF_HUB_CACHE).glob("models--*")
        if any(folder.glob(f"snapshots/*/{file_name}"))
    )


def cached_sentence(asked: str, what: str = "models", file_name: str = "config.json") -> str:
    """The sentence of a message that lists what is in the cache, the nearest to `asked` first.

    Args:
        asked: what was asked for.
        what: what is listed, in the plural.
        file_name: see `cached_repositories`.
    """
    try:
        names = nearest_first(asked, cached_repositories(file_name))
    except OSError:  # a folder that cannot be read
        names = []
    if not names:
        return f"The hub's cache has no {what}."
    if len(names) <= N_LISTED:
        return f"The hub's cache has: {', '.join(names)}."
    return f"The hub's cache has: {', '.join(names[:N_NEAREST])}, … ({len(names)} in all)."
