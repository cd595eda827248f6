"""Transformers that can be recorded and intervened on, and everything that loads them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
