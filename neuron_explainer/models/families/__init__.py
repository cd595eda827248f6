"""The model families: how each one's Hugging Face configs and weights become a `Transformer`.

`FAMILY_BY_MODEL_TYPE` is the registry; `docs/adding_a_family.md` shows how to add to it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
