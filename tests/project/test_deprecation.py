"""What has moved keeps working, says so once at the caller's line, and what never was there is an AttributeError."""

import warnings
from types import ModuleType

import pytest

from neuron_explainer._deprecation import deprecated_argument, moved_names
from neuron_explainer.vocabulary.nodes import NodeType


def old_module() -> ModuleType:
    module = ModuleType("old_module")
    module.__getattr__ = moved_names("old_module", {"Kind": "neuron_explainer.vocabulary.nodes:NodeType"})  # type: ignore[method-assign]
    return module


def test_a_name_that_moved_is_found_at_its_new_home():
    with pytest.warns(
        DeprecationWarning, match=r"old_module\.Kind has moved: use .*vocabulary\.nodes\.NodeType"
    ) as seen:
        assert old_module().Kind is NodeType
    assert seen[0].filename == __file__


def test_a_name_that_never_was_is_an_attribute_error():
    with pytest.raises(AttributeError, match="old_module"):
        _ = old_module().Knid


def saved(**options: object) -> dict[str, object]:
    deprecated_argument("old", "new", options)
    return options


def test_an_argument_under_its_old_name():
    with pytest.warns(DeprecationWarning, match="old is now called new") as seen:
        assert saved(old=3, other=4) == {"new": 3, "other": 4}
    assert seen[0].filename == __file__
    with pytest.raises(TypeError, match="give new alone"):
        saved(old=3, new=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert saved(new=3) == {"new": 3}
