"""No tensor is made with torch's default dtype or on torch's default device: both belong to the user."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.paths import PACKAGE

# Functions that make a tensor from nothing or from Python's numbers, and take what is left out from torch's defaults.
FACTORIES = {
    *("arange", "as_tensor", "asarray", "empty", "empty_strided", "eye", "full", "linspace", "logspace", "normal"),
    *(
        "ones",
        "rand",
        "randint",
        "randn",
        "randperm",
        "scalar_tensor",
        "tensor",
        "tril_indices",
        "triu_indices",
        "zeros",
    ),
}


def unstated(source: str) -> Iterator[tuple[int, str, str]]:
    """Line, function and what it leaves to torch's defaults, for each call that makes a tensor."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name("torch"), attr=name)) if name in FACTORIES:
                missing = {"dtype", "device"} - {keyword.arg for keyword in node.keywords}
                if missing:
                    yield node.lineno, name, " and ".join(sorted(missing, reverse=True))


def test_the_check_sees_what_is_left_out() -> None:
    source = "torch.zeros(3)\ntorch.arange(3, device=d)\ntorch.ones(3, dtype=t, device=d)\nx.new_zeros(3)\n"
    assert list(unstated(source)) == [(1, "zeros", "dtype and device"), (2, "arange", "dtype")]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_tensor_is_made_with_a_dtype_and_a_device(path: Path) -> None:
    left_out = [f"line {line}: torch.{name} without {what}" for line, name, what in unstated(path.read_text("utf-8"))]
    assert not left_out
