"""The model families: each turns its Hugging Face configs and weights into a `Transformer`.

`FAMILY_BY_MODEL_TYPE` is the registry; `docs/adding_a_family.md` shows how to add one."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
