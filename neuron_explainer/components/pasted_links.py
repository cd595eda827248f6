"""Links that people paste: addresses of records and explanations, and of pages that show a component."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from neuron_explainer.activation_server.neuron_datasets import NeuronDatasetMetadata, get_all_neuron_dataset_metadata
from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

_SCHEME = re.compile(r"(https?|az)://[^\s]+", re.IGNORECASE | re.ASCII)
_HOST_ALONE = re.compile(r"(?:www\.)?neuronpedia\.org/|openaipublic\.blob\.core\.windows\.net/", re.IGNORECASE)
_FILE = re.compile(r"/(\d{1,10})/(\d{1,10})\.(jsonl?)$", re.ASCII)
_NEURONPEDIA_HOSTS = ("neuronpedia.org", "www.neuronpedia.org")
_NEURONPEDIA_PATH = re.compile(
    r"/(?:api/feature/)?([\w.-]{1,100})/((\d{1,10})(?:-[\w.-]{1,100})?)/(\d{1,10})/?", re.ASCII
)
_VIEWER_PATH = "/neuron-explainer/neuron-viewer/index.html"
_VIEWER_PLACE = re.compile(r"/layers/(\d{1,10})/neurons/(\d{1,10})/?", re.ASCII)
_OF_VIEWER = ("gpt2-xl", DerivedScalarType.MLP_POST_ACT)


@dataclass(frozen=True)
class PastedLink:
    """What a link is of: `dataset` is a registered short name, or else where the records are."""

    layer: int
    index: int
    dataset: str
    dst: DerivedScalarType | None = None
    kind: NodeKind | None = None


def is_link(text: str) -> bool:
    """Whether a text is an address or a path of a file, rather than a name."""
    is_file = text.endswith((".json", ".jsonl")) and "/" in text
    return is_file or "://" in text[:20] or _HOST_ALONE.match(text) is not None


def read_link(text: str) -> PastedLink | None:
    """The component that a link is of; None if it is of none that is known.

    Known are the address or path of a record, `…/5/131.json`, and of published explanations, `…/5/131.jsonl`; pages of
    Neuronpedia, and of the viewer of GPT-2 XL's neurons. An address may begin with `az://`.

    >>> read_link("az://openaipublic/neuron-explainer/data/explanations/5/131.jsonl").dataset
    'gpt2-xl'
    """
    if _HOST_ALONE.match(text):
        text = f"https://{text}"
    if "://" not in text:
        return _of_file(text)
    if _SCHEME.fullmatch(text) is None:
        return None
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").lower()
    except ValueError:
        return None
    if parts.scheme.lower() == "az":  # az://account/container/…
        parts = parts._replace(scheme="https", netloc=f"{host}.blob.core.windows.net")
    elif host in _NEURONPEDIA_HOSTS:
        return _of_neuronpedia(parts.path)
    elif parts.path == _VIEWER_PATH:
        place = _VIEWER_PLACE.fullmatch(parts.fragment)
        return None if place is None else PastedLink(int(place[1]), int(place[2]), *_OF_VIEWER)
    return _of_file(urlunsplit((parts.scheme.lower(), parts.netloc, parts.path, "", "")))


def _of_file(location: str) -> PastedLink | None:
    found = _FILE.search(location)
    if found is None:
        return None
    layer, index, root = int(found[1]), int(found[2]), location[: found.start()]
    for metadata in get_all_neuron_dataset_metadata():
        if same_place(root, metadata.neuron_dataset_path) or same_place(root, metadata.explanations_path):
            return PastedLink(layer, index, *metadata.key)
    if found[3] == "jsonl":
        return None  # explanations do not say where the records are
    return PastedLink(layer, index, root)


def same_place(one: str, other: str | None) -> bool:
    """Whether two addresses or folders are the same, apart from credentials, queries and slashes at their ends.

    >>> same_place("https://me:key@host/data?sig=1", "https://HOST/data/")
    True
    """
    return other is not None and _place(one) == _place(other)


def _place(location: str) -> str:
    if "://" not in location:
        return os.path.abspath(os.path.expanduser(location))
    try:
        parts = urlsplit(location)
        host = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname
    except ValueError:
        return location
    return f"{host}{parts.path.rstrip('/')}"


def _of_neuronpedia(path: str) -> PastedLink | None:
    """`/gpt2-small/5-res-jb/131`: of neurons, the source is the layer alone."""
    found = _NEURONPEDIA_PATH.fullmatch(path)
    if found is None:
        return None
    model, source, layer, index = found.groups()
    registered = get_all_neuron_dataset_metadata()
    if source == layer:
        dst = DerivedScalarType.MLP_POST_ACT
        match = _registered(registered, (model,), dst)
        return PastedLink(int(layer), int(index), match or model, dst, NodeKind.NEURON)
    of_source = source.removeprefix(f"{layer}-")
    names = [f"{model}{mark}{name}" for mark in ("/", "_", "-") for name in (source, of_source)]
    match = _registered(registered, names, None)
    return PastedLink(int(layer), int(index), match or f"{model}/{source}", None, NodeKind.LATENT)


def _registered(
    known: list[NeuronDatasetMetadata], names: tuple[str, ...] | list[str], dst: DerivedScalarType | None
) -> str | None:
    wanted = {name.lower() for name in names}
    return next(
        (
            each.short_name
            for each in known
            if each.short_name.lower() in wanted and dst in (None, each.derived_scalar_type)
        ),
        None,
    )
