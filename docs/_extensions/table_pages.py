"""Tables of what the package offers: all derived scalars, and the registered neuron datasets."""

from typing import Any

import pandas as pd
from generated_files import write_pages

import neuron_explainer as ne

_INTRODUCTION = """# Derived scalars

`ne.derive` computes these {count} scalars, for every supported model family. `ne.derived_scalars()` gives this table in
a notebook, and `ne.derived_scalars("write norm")` searches it. To add one:
[Adding a derived scalar](../../adding_a_derived_scalar.md).

"""


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, (list, tuple, set, frozenset)):
        value = ", ".join(str(item) for item in value)
    return "" if value is None or value != value else str(value).replace("|", r"\|").replace("\n", " ")


def table(frame: pd.DataFrame) -> str:
    """Write a table in Markdown; the first column, or a named index, is set as code."""
    if frame.index.name:
        frame = frame.reset_index()
    headings = [str(column).replace("_", " ") for column in frame.columns]
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    for row in frame.itertuples(index=False):
        name, *others = (_cell(value) for value in row)
        lines.append("| " + " | ".join([f"`{name}`", *others]) + " |")
    return "\n".join(lines)


def _from_members() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"name": dst.name, "axes": [axis.value for axis in dst.shape_spec_per_token_sequence]}
            for dst in ne.DerivedScalarType
        ]
    )


def _write(app: Any, config: Any) -> None:
    frame = ne.derived_scalars() if hasattr(ne, "derived_scalars") else _from_members()
    page = (
        _INTRODUCTION.format(count=len(frame)) + ":::{div} wide-table\n\n" + table(frame) + "\n\n:::\n"
    )
    datasets = ne.datasets()[["short_name", "derived_scalar_type", "user_visible_name", "n_layers", "n_components"]]
    write_pages("tables", {"derived_scalars.md": page, "datasets.txt": table(datasets)})


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("config-inited", _write)
    return {"parallel_read_safe": True}
