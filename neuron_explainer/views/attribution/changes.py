"""A change of the model in one line: what is overwritten, and the number before and after."""

from neuron_explainer.views.attribution.cells import node_mark, signed
from neuron_explainer.views.document import MUTED, card
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.views.token_text import escaped


def change_html(label: str, before: float | None, after: float | None, is_on: bool = True) -> str:
    """One ablation as static HTML: "L2H3 = 0", the number before and after it, and the difference.

    Args:
        label: what is overwritten, and with what; text.
        before, after: the number without and with it, on top of the changes before it; None if not known.
        is_on: False of a change that is switched off, which has no numbers.

    >>> "1.5 → 0.5" in change_html("L2H3 = 0", 1.5, 0.5)
    True
    """
    return card(change_line(label, before, after, is_on), "ne-change", is_small=True)


def change_line(label: str, before: float | None, after: float | None, is_on: bool = True) -> str:
    """`change_html` without the card."""
    name, equals, value = label.partition(" = ")
    shown = f'<b {node_mark(name)} style="overflow-wrap:anywhere">{escaped(name)}</b>{escaped(equals + value)}'
    if not is_on:
        return f"<div>{shown} {_muted('· switched off')}</div>"
    if before is None or after is None:
        return f"<div>{shown} {_muted('· not yet computed')}</div>"
    numbers = f'<span style="white-space:nowrap">{format_value(before)} → {format_value(after)}</span>'
    change = f'<b style="white-space:nowrap">{signed(after - before)}</b>'
    return f"<div>{shown} {_muted('·')} {numbers} {_muted('·')} {change}</div>"


def _muted(text: str) -> str:
    return f'<span style="color:{MUTED}">{text}</span>'
