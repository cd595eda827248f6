"""What the `tokenizers` package raises, as this library's errors.

The package is written in Rust. Where its code meets something that it does not expect, it panics, and the panic
arrives in Python as a `PanicException`, which derives from `BaseException`: `except Exception` lets it through, and it
would end a thread without a word from this library.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from neuron_explainer.errors import NeuronExplainerError, TokenizerError, shown

_LONGEST_PROBLEM = 300


@contextmanager
def backend_errors(doing: str) -> Iterator[None]:
    """Turn errors and panics of the package into a TokenizerError.

    Args:
        doing: the beginning of the message: what failed.

    Raises:
        TokenizerError: the package raised an error or panicked.
    """
    try:
        yield
    except (NeuronExplainerError, MemoryError):
        raise
    except Exception as error:  # the package raises bare Exceptions
        raise TokenizerError(f"{doing}: {_line(error)}") from error
    except BaseException as error:
        if not is_panic(error):  # an interrupt
            raise
        raise TokenizerError(
            f"{doing}: the tokenizers package panicked ({_line(error)}). The tokenizer may be damaged, or a newer "
            "version of the package may read it."
        ) from error


def is_panic(error: BaseException) -> bool:
    """Whether an error is a panic of code in Rust. Each package has a class of its own for it, under this name."""
    kind = type(error)
    return (kind.__module__, kind.__name__) == ("pyo3_runtime", "PanicException")


class _Model(msgspec.Struct):
    continuing_subword_prefix: Any = None
    merges: msgspec.Raw = msgspec.Raw(b"[]")


class _File(msgspec.Struct):
    model: _Model


_FILE = msgspec.json.Decoder(_File)
_MERGES = msgspec.json.Decoder(list[str | tuple[str, str]])


def check_merges(content: bytes, file: object) -> None:
    """Refuse a `tokenizer.json` that ends the whole process when the package reads it.

    The package cuts as many bytes off the right part of each merge as `continuing_subword_prefix` has characters. Where
    that cuts a character in two, even its error message is not a text, and the process is aborted.

    Args:
        content: the file's bytes. What else is wrong with them is left to the package.
        file: its path, for errors.

    Raises:
        TokenizerError: a merge's right part does not begin with the prefix.
    """
    try:
        model = _FILE.decode(content).model
        prefix = model.continuing_subword_prefix
        merges = _MERGES.decode(model.merges) if prefix else []
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return
    if not isinstance(prefix, str):
        return
    for merge in merges:
        right = merge.partition(" ")[2] if isinstance(merge, str) else merge[1]
        if not (prefix.isascii() and right.startswith(prefix)):
            raise TokenizerError(
                f"{file} cannot be read as a tokenizer: its merge {shown(merge)} does not fit the prefix "
                f"{shown(prefix)} of continued words."
            )


def _line(error: BaseException) -> str:
    """The error's message, without its quotation marks."""
    return shown(str(error), _LONGEST_PROBLEM)[1:-1]
