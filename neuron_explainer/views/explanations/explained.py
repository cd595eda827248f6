"""The explanations of many components with their scores, in one table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas

from neuron_explainer.views.attribution.cells import is_missing, section
from neuron_explainer.views.components.parts import SMALL
from neuron_explainer.views.document import card, html_table
from neuron_explainer.views.explanations.meanings import small_line
from neuron_explainer.views.explanations.small_tables import wrapped_text
from neuron_explainer.views.token_text import escaped
from neuron_explainer.wording import counted

_N_ROWS, _LONGEST, _MOST_SCORERS = 20, 500, 6
_TEXTS = ("component", "explanation", "explainer", "error")


def explained_html(frame: pandas.DataFrame, n_components: int, n_failed: int) -> str:
    """The explanations of many components on a card, with each scorer's score.

    Args:
        frame: a row for each explanation, as `ExplainedDataset.to_dataframe` gives it.
        n_components: how many components there are.
        n_failed: how many of them have an error.
    """
    columns = [str(name) for name in frame.columns]
    scorers = [name for name in columns if f"{name} low" in columns and f"{name} high" in columns][:_MOST_SCORERS]
    told = [name for name in _TEXTS if name in columns and (name == "component" or frame[name].astype(bool).any())]
    rows = [
        [*(_text(row[name]) for name in told), *(_score(row, name, columns) for name in scorers)]
        for row in frame.head(_N_ROWS).to_dict("records")
    ]
    table = html_table([*map(escaped, [*told, *scorers])], rows) if rows else ""
    failed = f", {n_failed:,} with an error" if n_failed else ""
    more = f"the first {_N_ROWS} of {len(frame):,} explanations; " if len(frame) > _N_ROWS else ""
    how = "a score's interval is that of 95 % of resampled texts, and baselines are beneath it; " if scorers else ""
    end = small_line(f"{more}{how}.to_dataframe() has all")
    return card(section(f"{counted(n_components, 'component')} explained{failed}", table + end, space=0))


def _text(value: Any) -> str:
    return "" if is_missing(value) else wrapped_text(str(value), _LONGEST)


def _score(row: Mapping[Any, Any], scorer: str, columns: list[str]) -> str:
    """A score with its interval, and the baselines beneath it; empty if an error stands in its place."""
    error = row.get("error")
    if is_missing(row[scorer]) and isinstance(error, str) and error:
        return ""
    interval = f" ({_number(row[f'{scorer} low'])} to {_number(row[f'{scorer} high'])})"
    known = interval if not is_missing(row[f"{scorer} low"]) else ""
    baselines = [
        f"{name.removeprefix(f'{scorer}: ')} {_number(row[name])}" for name in columns if name.startswith(f"{scorer}: ")
    ]
    beneath = "".join(f'<div style="{SMALL}">{escaped(each)}</div>' for each in baselines)
    value = f'{_number(row[scorer])}<span style="{SMALL}">{known}</span>'
    return f'<span style="white-space:nowrap">{value}</span>{beneath}'


def _number(value: float) -> str:
    return "not defined" if not math.isfinite(value) else f"{value:.2f}".replace("-", "−")
