"""Look inside language models in a notebook: what does this neuron do, and why did the model say that?

The public names are listed in `__init__.pyi`, which type checkers read. Each is imported when it is first used.
"""

from typing import Any

from neuron_explainer._lazy_names import names_of_stub

_exported, __dir__, __all__ = names_of_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        from neuron_explainer.errors import choices_sentence, nearest_first

        raise AttributeError(f"neuron_explainer has no {name!r}. {choices_sentence(nearest_first(name, __all__))}")
    return _exported(name)
