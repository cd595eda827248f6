"""The prompt coloured by total effects: of its embeddings, of attention from and to its tokens, of MLPs at them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from neuron_explainer.views.attribution.cells import quoted, section, signed, token_mark
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.document import LINE, MUTED
from neuron_explainer.views.heatmap import heatmap_text, legend
from neuron_explainer.views.token_text import escaped

if TYPE_CHECKING:
    from neuron_explainer.attribution.attribution import Attribution

_LABELS = {
    "embedding": "embedding",
    "attention_from": "attention from",
    "attention_to": "attention to",
    "mlp": "MLP",
    "latents": "latents",
}
_N_TOKENS = 200  # of a longer prompt, those around the largest effect


def token_effects(why: Attribution) -> str:
    """The strips of an answer; of answers of several tokens, those of each."""
    frame = why.tokens()
    columns = [name for name in _LABELS if name in frame.columns]
    scale = ColourScale.of(number for name in columns for number in frame[name])
    rows = frame.to_dict("records")
    strips = []
    starts = [place for place, row in enumerate(rows) if row["position"] == 0]  # of each pass
    for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
        answer = rows[start].get("answer")
        name = "" if answer is None else f'<div style="margin-top:6px"><b>{quoted(answer)}</b></div>'
        strips.append(name + _strips(rows[start:stop], columns, scale))
    return section("Total effects by token", legend(scale) + "".join(strips), "activation times gradient")


def _strips(rows: Sequence[dict[Any, Any]], columns: Sequence[str], scale: ColourScale) -> str:
    tokens = [row["token"] for row in rows]
    return "".join(
        _strip(_LABELS[name], tokens, [row[name] for row in rows], scale)
        for name in columns
        if any(row[name] for row in rows)
    )


def _strip(label: str, tokens: Sequence[str], values: Sequence[float], scale: ColourScale) -> str:
    text = heatmap_text(tokens, values, scale, _N_TOKENS, token_mark)
    named = f'role="group" aria-label="{escaped(label)}"'
    return (
        f'<div class="ne-strip" {named} style="display:flex;gap:12px;border-top:1px solid {LINE};padding:4px 0">'
        f'<div style="color:{MUTED};font-size:12px;flex:0 0 92px;padding-top:2px">{escaped(label)} '
        f'<span title="the sum over tokens" style="white-space:nowrap">{signed(sum(values))}</span></div>'
        f'<div style="flex:1 1 0;min-width:0">{text}</div></div>'
    )
