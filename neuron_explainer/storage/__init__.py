"""Reads bytes from the network (through the disk cache) and from local files, and writes files atomically."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
