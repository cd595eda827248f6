"""Making a neuron dataset from a model and text.

The package can be called: `neuron_explainer.collate(model, texts, out)` is `neuron_explainer.collate.api.collate`.
"""

import inspect
import sys
from types import ModuleType
from typing import Any

from neuron_explainer._lazy import lazy_exports

_MODULE_BY_NAME = {
    "collate": "neuron_explainer.collate.api",
    "CollateSettings": "neuron_explainer.collate.settings",
    "convert": "neuron_explainer.collate.conversion",
    "live_record": "neuron_explainer.collate.live",
    "verify": "neuron_explainer.collate.verification",
}

__getattr__, __dir__, __all__ = lazy_exports(__name__, _MODULE_BY_NAME)


class _CallablePackage(ModuleType):
    """A package that is a function as well."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """See `neuron_explainer.collate.api.collate`."""
        from neuron_explainer.collate.api import collate

        return collate(*args, **options)

    @property
    def __signature__(self) -> inspect.Signature:
        """The function's, so that a notebook shows its arguments."""
        from neuron_explainer.collate.api import collate

        return inspect.signature(collate)


sys.modules[__name__].__class__ = _CallablePackage
