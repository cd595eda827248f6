from .atomic import replaced_atomically, write_bytes_atomically
from .disk_cache import CachedFile, DiskCache, cache_folder, clear_cache
from .http_settings import HttpSettings
from .locations import is_url, joined
from .reading import exists, fetch_file, read_bytes, read_decoded

__all__ = [
    "CachedFile",
    "DiskCache",
    "HttpSettings",
    "cache_folder",
    "clear_cache",
    "exists",
    "fetch_file",
    "is_url",
    "joined",
    "read_bytes",
    "read_decoded",
    "replaced_atomically",
    "write_bytes_atomically",
]
