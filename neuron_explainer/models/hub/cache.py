"""What is in the hub's cache on this machine."""

from pathlib import Path

from neuron_explainer.errors import nearest_first
from neuron_explainer.wording import N_LISTED, N_NEAREST


def cached_models() -> list[str]:
    """The hub ids of the models in the cache, in alphabetical order: those of which some version has its config."""
    import huggingface_hub.constants  # it alone is quick to import

    return sorted(
        folder.name.removeprefix("models--").replace("--", "/", 1)
        for folder in Path(huggingface_hub.constants.HF_HUB_CACHE).glob("models--*")
        if any(folder.glob("snapshots/*/config.json"))
    )


def cached_models_sentence(asked: str) -> str:
    """The sentence of a message that lists the models in the cache, those nearest to `asked` first."""
    try:
        names = nearest_first(asked, cached_models())
    except OSError:  # a folder that cannot be read
        names = []
    if not names:
        return "The hub's cache has no models."
    if len(names) <= N_LISTED:
        return f"The hub's cache has: {', '.join(names)}."
    return f"The hub's cache has: {', '.join(names[:N_NEAREST])}, … ({len(names)} in all)."
