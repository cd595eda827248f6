"""Texts as a scorer judged them: those that fit an explanation most, and least."""

from __future__ import annotations

import pandas

from neuron_explainer.views.components.parts import SMALL
from neuron_explainer.views.explanations.meanings import judged_lines
from neuron_explainer.views.explanations.small_tables import small_table

_N_TEXTS = 4
_JUDGED = ("confidence", "similarity", "gain", "judged", "probability", "judgement")
_SHOWN_FIRST = ("text", "kind", "activation")


def judged_texts(judgements: pandas.DataFrame) -> str:
    """A table of the texts that were judged to fit most, and of those that fit least; empty without a judgement.

    Args:
        judgements: a row for each text: text, and what was found of it.
    """
    judgements = judgements.loc[:, ~judgements.columns.duplicated()]
    by = _judged_by(judgements)
    if by is None or "text" not in judgements.columns:
        return ""
    frame = pandas.DataFrame(judgements).reset_index(drop=True)
    order = frame[by].astype("float64").sort_values(ascending=False, kind="stable").dropna().index
    most, least = order[:_N_TEXTS], order[_N_TEXTS:][-_N_TEXTS:]
    first = [name for name in (*_SHOWN_FIRST, by) if name in frame.columns]  # what judges is not what a page cuts off
    frame = frame[[*first, *(name for name in frame.columns if name not in first)]]
    tables = "".join(
        f'<div style="{SMALL};margin-top:6px">{title}</div>{small_table(frame.loc[chosen])}'
        for title, chosen in (("judged to fit most", most), ("judged to fit least", least))
        if len(chosen)
    )
    kinds = frame["kind"].dropna().unique() if "kind" in frame.columns else ()
    return tables + (judged_lines(kinds, map(str, frame.columns)) if tables else "")


def _judged_by(judgements: pandas.DataFrame) -> str | None:
    """The column that texts are judged by: a known one with values, or else the last of numbers."""
    numbers = [
        str(name)
        for name in judgements.columns
        if name not in ("activation", "position")
        and (pandas.api.types.is_numeric_dtype(judgements[name]) or pandas.api.types.is_bool_dtype(judgements[name]))
        and judgements[name].notna().any()
    ]
    return next((name for name in _JUDGED if name in numbers), numbers[-1] if numbers else None)
