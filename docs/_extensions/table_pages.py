"""Tables of what the package offers: all derived scalars, and the registered neuron datasets."""

import re
from typing import Any

import pandas as pd
from generated_files import write_pages

import neuron_explainer as ne

_DERIVED_SCALARS = """# Table of derived scalars

`ne.derive` computes these {count} scalars, for every supported model family. `ne.derived_scalars()` gives this table in
a notebook, and `ne.derived_scalars("write norm")` searches it. {{py:obj}}`neuron_explainer.DerivedScalarType` explains
the formulas' symbols. To add one: [Adding a derived scalar](../../adding_a_derived_scalar.md).

:::{{div}} wide-table

{table}

:::
"""
_MARKUP = re.compile(r"([\\`*_<>|\[\]$])")


def _cell(value: Any) -> str:
    return "" if value is None or pd.isna(value) else _MARKUP.sub(r"\\\1", str(value)).replace("\n", " ")


def table(frame: pd.DataFrame) -> str:
    """Write a table in Markdown; its first column is set as code."""
    headings = [str(column).replace("_", " ") for column in frame.columns]
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    for name, *others in frame.itertuples(index=False):
        lines.append("| " + " | ".join([f"`{name}`", *map(_cell, others)]) + " |")
    return "\n".join(lines)


def _write(app: Any, config: Any) -> None:
    scalars = ne.derived_scalars()
    datasets = ne.datasets()[["short_name", "derived_scalar_type", "user_visible_name", "n_layers", "n_components"]]
    pages = {
        "derived_scalars.md": _DERIVED_SCALARS.format(count=len(scalars), table=table(scalars)),
        "datasets.txt": table(datasets),
    }
    write_pages("tables", pages)


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("config-inited", _write)
    return {"parallel_read_safe": True}
