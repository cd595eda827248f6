"""Plain functions that turn a record or a result into HTML or a plotly figure."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
