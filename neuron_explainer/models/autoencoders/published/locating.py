"""What the name of a published autoencoder stands for: a folder of a repository on the hub.

The name is a text, "release#id" or "owner/repository#folder", so that it can stand wherever a path does.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from neuron_explainer.errors import InvalidRequestError, UnknownNameError, choices_sentence, nearest_first, shown
from neuron_explainer.models.autoencoders.published.release_table import Release, has_table, releases, releases_of
from neuron_explainer.models.checkpoints.hugging_face import looks_like_hub_id
from neuron_explainer.storage.local import is_local_folder
from neuron_explainer.storage.locations import expanded, is_url
from neuron_explainer.vocabulary.checks import checked_type

_BETWEEN = "#"
# A layer's number in an id: blocks.8.hook_resid_pre, layer_8/width_16k/canonical, l8r_8x, 8-res-sm.
_LAYER = re.compile(r"(?:(?<=blocks\.)|(?<=layer_)|(?<=layer)|(?<=\bl)|^)\d+(?=[._/a-z-]|$)")


@dataclass(frozen=True)
class Published:
    """One published autoencoder.

    Attributes:
        name: "release#id", or "owner/repository#folder".
        repo_id: the repository on the hub.
        folder: the folder, or the file, in it.
        sae_id: its id in the release; the folder where there is none.
        release: its release; None if SAELens' table does not have it.
    """

    name: str
    repo_id: str
    folder: str
    sae_id: str
    release: Release | None


def is_published_name(text: str) -> bool:
    """Whether a text is the name of a published autoencoder, and no path that exists; it need not be there."""
    source, between, _ = text.partition(_BETWEEN)
    return bool(between) and not os.path.exists(text) and is_release_or_repository(source)


def is_release_or_repository(text: str) -> bool:
    """Whether a text is the name of a release, or has the form of a repository's, and is no path that exists."""
    return not os.path.exists(text) and (looks_like_hub_id(text) or _release_named(text) is not None)


def is_release(text: str) -> bool:
    """Whether a text is the name of a release, and no path that exists."""
    return not is_url(text) and not os.path.exists(text) and _release_named(text) is not None


def _release_named(name: str) -> Release | None:
    if "/" in name:
        return None
    known = releases()
    return known.get(name) or next((known[each] for each in known if each.lower() == name.lower()), None)


def name_of_one(source: str, sae_id: object) -> str:
    """The name of one autoencoder, or the path or address of its file.

    Args:
        source: a release, a repository on the hub, a path or an address.
        sae_id: which autoencoder; None if `source` says it.

    Raises:
        InvalidRequestError: a release has several and none is chosen, or `sae_id` is not a text.
        UnknownNameError: an autoencoder is chosen of something that is no release, repository or folder.
    """
    if sae_id is not None:
        chosen = checked_type("sae_id", sae_id, str)
        if is_release_or_repository(source):
            return f"{source}{_BETWEEN}{chosen}"
        if is_local_folder(expanded(source)):
            return os.path.join(source, chosen)
        raise unknown_release(source)
    if _BETWEEN not in source and not is_url(source) and not os.path.exists(source):
        release = _release_named(source)
        if release is not None:
            ids = choices_sentence(list(release.folder_by_id))
            raise InvalidRequestError(f"{source} is a release of several autoencoders. Give sae_id. {ids}")
    return source


def published(name: str) -> Published:
    """What the name of a published autoencoder stands for.

    Raises:
        UnknownNameError: no release is called so, or it has no autoencoder of this id; the error names the nearest.
    """
    source, _, asked = name.partition(_BETWEEN)
    release = _release_named(source)
    if release is None and not looks_like_hub_id(source):
        raise unknown_release(source)
    if release is not None:
        if asked not in release.folder_by_id:
            raise UnknownNameError(f"autoencoder of {release.name}", asked, release.folder_by_id)
        return Published(name, release.repo_id, release.folder_by_id[asked], asked, release)
    folder = asked.strip("/")
    for each in releases_of(source):  # the table may know more than the repository says
        for sae_id, known in each.folder_by_id.items():
            if known == folder:
                return Published(name, each.repo_id, folder, sae_id, each)
    return Published(name, source, folder, folder, None)


def unknown_release(name: str, others: Iterable[str] = ()) -> UnknownNameError:
    """The error for a name that no release has. Its choices are the releases, and `others`."""
    hint = "A path, an address, or a repository on the hub (owner/name) and sae_id works too."
    if not has_table():
        hint += " SAELens' releases are known by name where it is installed (pip install sae-lens)."
    return UnknownNameError("autoencoder", name, [*others, *releases()], hint)


def names_of_layers(source: str, sae_id: str | Sequence[str] | None, layers: Sequence[int] | None) -> list[str]:
    """The names of one autoencoder for each layer.

    Args:
        source: a release, or a repository on the hub.
        sae_id: an id; several; one with `{layer}` in it; or None: all of a release.
        layers: which layers; None means all that the release has.

    Raises:
        InvalidRequestError: an id is needed, or `layers`; or `sae_id` is neither a text nor several.
        UnknownNameError: the release has no such id.
    """
    release = _release_named(source)
    ids = None if release is None else list(release.folder_by_id)
    if sae_id is not None and not isinstance(sae_id, str):
        if not isinstance(sae_id, Sequence) or not sae_id or not all(isinstance(each, str) for each in sae_id):
            raise InvalidRequestError(f"sae_id is {shown(sae_id)}. Give one id as a text, or several.")
        return [f"{source}{_BETWEEN}{each}" for each in sae_id]
    if sae_id is not None and "{layer}" not in sae_id:
        return [f"{source}{_BETWEEN}{sae_id}"]
    if ids is None:
        if sae_id is None or layers is None:
            what = "sae_id, its folder" if sae_id is None else "layers"
            raise InvalidRequestError(
                f"{source} is a repository on the hub, or a path that does not exist. Give {what}."
            )
        return [f"{source}{_BETWEEN}{sae_id.replace('{layer}', str(layer))}" for layer in layers]
    by_pattern = _by_pattern(ids)
    pattern = next(iter(by_pattern)) if sae_id is None else sae_id
    if sae_id is None and len(by_pattern) > 1:
        most = sorted(by_pattern, key=lambda each: -len(by_pattern[each]))
        choices = choices_sentence(most)
        raise InvalidRequestError(f"{source} has several autoencoders of a layer. Give sae_id. {choices}")
    if pattern not in by_pattern:
        choices = choices_sentence(nearest_first(pattern, by_pattern))
        raise InvalidRequestError(f"{source} has no autoencoders {shown(pattern)}. {choices}")
    by_layer = by_pattern[pattern]
    # A layer that the release does not have is refused when its id is looked up.
    chosen = by_layer.values() if layers is None else [pattern.replace("{layer}", str(layer)) for layer in layers]
    return [f"{source}{_BETWEEN}{each}" for each in chosen]


def _by_pattern(ids: Sequence[str]) -> dict[str, dict[int | None, str]]:
    """The ids by layer, by what they are with `{layer}` in the place of the layer's number."""
    found: dict[str, dict[int | None, str]] = {}
    for each in ids:
        layer = _LAYER.search(each)
        pattern = each if layer is None else f"{each[: layer.start()]}{{layer}}{each[layer.end() :]}"
        found.setdefault(pattern, {})[None if layer is None else int(layer[0])] = each
    return found
