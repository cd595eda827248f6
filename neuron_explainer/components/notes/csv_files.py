"""Tables as CSV files that other programs open: no cell is taken for a formula."""

import csv
import io
from collections.abc import Iterable, Sequence

from neuron_explainer.wording import without_steering


def csv_bytes(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> bytes:
    r"""A table as the bytes of a CSV file. Control and direction characters become escapes.

    Args:
        columns: the names of its columns.
        rows: the cells of each row.

    >>> csv_bytes(["name", "value"], [("=1+1", 2.5)])
    b"name,value\r\n'=1+1,2.5\r\n"
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(map(_cell, columns))
    writer.writerows(map(_cell, row) for row in rows)
    return text.getvalue().encode()


def _cell(value: object) -> object:
    """A value as a cell that no program takes for a formula."""
    if not isinstance(value, str):
        return value
    text = without_steering(value)
    return f"'{text}" if value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text
