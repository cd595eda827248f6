"""Bytes from the network, the disk cache and local files."""

from neuron_explainer._lazy import lazy_exports

_MODULE_BY_NAME = {
    "CachedFile": "neuron_explainer.storage.disk_cache",
    "DiskCache": "neuron_explainer.storage.disk_cache",
    "HttpSettings": "neuron_explainer.storage.http_settings",
    "cache_folder": "neuron_explainer.storage.disk_cache",
    "clear_cache": "neuron_explainer.storage.disk_cache",
    "exists": "neuron_explainer.storage.reading",
    "fetch_file": "neuron_explainer.storage.reading",
    "is_url": "neuron_explainer.storage.locations",
    "joined": "neuron_explainer.storage.locations",
    "read_bytes": "neuron_explainer.storage.reading",
    "read_decoded": "neuron_explainer.storage.reading",
    "replaced_atomically": "neuron_explainer.storage.atomic",
    "write_bytes_atomically": "neuron_explainer.storage.atomic",
}

__getattr__, __dir__, __all__ = lazy_exports(__name__, _MODULE_BY_NAME)
