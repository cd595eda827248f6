"""Plain functions from a record or a result to HTML, a plotly figure or a DataFrame."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
