"""Tables of what the package offers: all derived scalars, datasets and models with a name."""

import html
import re
from typing import Any

import pandas as pd
from generated_files import write_pages

import neuron_explainer as ne

_DERIVED_SCALARS = """# Table of derived scalars

`ne.derive` computes these {count} scalars, for every supported model family. `ne.derived_scalars()` gives this table in
a notebook, and `ne.derived_scalars("write norm")` searches it. {{py:obj}}`neuron_explainer.DerivedScalarType` explains
the formulas' symbols. To add one: [Adding a derived scalar](../../adding_a_derived_scalar.md).

:::{{div}} scalar-table

{table}

:::
"""
_MARKUP = re.compile(r"([\\`*_<>|\[\]$])")


def _text(value: Any) -> str:
    return "" if value is None or pd.isna(value) else _MARKUP.sub(r"\\\1", str(value)).replace("\n", " ")


def _code(name: str) -> str:
    """A name as code that may break after an underscore."""
    return f'<code class="docutils literal">{html.escape(str(name)).replace("_", "_<wbr>")}</code>'


def _rows(headings: list[str], cells: list[list[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def name_table(frame: pd.DataFrame) -> str:
    """Write a table in Markdown, its first column as code."""
    headings = [str(column).replace("_", " ") for column in frame.columns]
    return _rows(headings, [[_code(name), *map(_text, others)] for name, *others in frame.itertuples(index=False)])


def scalar_table(frame: pd.DataFrame) -> str:
    """Write names and meanings in Markdown; all other columns share one cell, one line each."""
    cells = []
    for name, meaning, *others in frame.itertuples(index=False):
        known = [(label, value) for label, value in zip(frame.columns[2:], others, strict=True) if value]
        details = "<br>".join(f"*{label}:* {_text(value)}" for label, value in known)
        cells.append([_code(name), _text(meaning), details])
    return _rows(["name", "meaning", "details"], cells)


def _write(app: Any, config: Any) -> None:
    scalars = ne.derived_scalars()
    datasets = ne.datasets()[["short_name", "derived_scalar_type", "user_visible_name", "n_layers", "n_components"]]
    pages = {
        "derived_scalars.md": _DERIVED_SCALARS.format(count=len(scalars), table=scalar_table(scalars)),
        "datasets.txt": name_table(datasets),
        "models.txt": name_table(ne.known_models()),
    }
    write_pages("tables", pages)


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("config-inited", _write)
    return {"parallel_read_safe": True}
