"""The top of an answer's page: the question, the number, whether the parts add up to it, and what came before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuron_explainer.views.attribution.cells import signed
from neuron_explainer.views.document import INK, LINE, MUTED
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.views.running_text import plain_tokens
from neuron_explainer.views.token_text import escaped, token_html
from neuron_explainer.wording import counted, number_ranges

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from neuron_explainer.attribution.history import Step
    from neuron_explainer.attribution.numbers_and_tables import AttributionTables

_N_ABLATIONS = 12
_N_ENDS = 100  # tokens of the beginning, and of the end, of a long prompt
_HINT_STYLE = f"border-left:4px solid #cb6800;background-color:#fff8ef;color:{INK};padding:6px 10px;margin:0 0 10px"
_SMALL = f"color:{MUTED};font-size:12px"


def question_heading(why: AttributionTables) -> str:
    """The question with its answer."""
    return (
        hints_note(why.hints)
        + value_line(why.inquiry.title, why.value)
        + sum_line(why.value - why.residue, why.residue)
        + _capped(why)
        + prompt_line(why)
        + _ablations(why.ablated)
        + _history(why.history, why)
    )


def hints_note(hints: Iterable[str]) -> str:
    """The hints as a note; empty without any."""
    return "".join(f'<div class="ne-hint" style="{_HINT_STYLE}">{escaped(hint)}</div>' for hint in hints)


def value_line(title: str, value: float) -> str:
    """The question in words, and its number."""
    return (
        f'<div role="heading" aria-level="3" style="font-size:19px;overflow-wrap:anywhere">{escaped(title)} = '
        f'<b style="white-space:nowrap">{format_value(value)}</b></div>'
    )


def sum_line(total: float, residue: float) -> str:
    """What the parts sum to, and what they leave over."""
    return (
        f'<div class="ne-residue" style="{_SMALL}">parts sum to {format_value(total)}; residue '
        f"{format_value(float(f'{residue:.2g}'))}</div>"
    )


def prompt_line(why: AttributionTables) -> str:
    """The prompt, with what is known of it."""
    first = why.stores[0]
    facts = [] if len(why.stores) > 1 else [counted(len(first.tokens), "token"), *_places(why)]
    if first.model_name is not None:
        facts.insert(0, escaped(first.model_name))
    if first.n_beginning:
        facts.append(f"begins with <bdi>{token_html(first.beginning)}</bdi>, put before the text")
    text = "" if len(why.stores) > 1 else f'<div style="margin:6px 0">{_text(first.tokens)}</div>'
    return f'<div style="{_SMALL}">{" · ".join(facts)}</div>{text}'


def _text(tokens: Sequence[str]) -> str:
    """The tokens as running text, without the middle of a long prompt."""
    if len(tokens) <= 2 * _N_ENDS:
        return plain_tokens(tokens)
    left_out = counted(len(tokens) - 2 * _N_ENDS, "token")
    mark = f'<span title="{left_out} not shown" style="color:{MUTED}"> ⋯ </span>'
    return f"{plain_tokens(tokens[:_N_ENDS])}{mark}{plain_tokens(tokens[-_N_ENDS:])}"


def _places(why: AttributionTables) -> list[str]:
    """Where logits are read, if that is not at the last token."""
    effects = why.effects[0]
    last = len(effects.prompt.token_ids) - 1
    if effects.logits is None or effects.rows == (last,):
        return []
    which = "token" if len(effects.rows) == 1 else "tokens"
    return [f"read at {which} {number_ranges(effects.rows)}"]


def _capped(why: AttributionTables) -> str:
    if why.capped_value == why.value:
        return ""
    return (
        f'<div style="{_SMALL}">of the model\'s own, soft-capped logits: {format_value(why.capped_value)}; all numbers '
        "below are of the logits before the cap</div>"
    )


def _ablations(notes: Sequence[str]) -> str:
    """Which nodes are overwritten, and with what; empty if none are."""
    if not notes:
        return ""
    lines = [f'<span style="overflow-wrap:anywhere">{escaped(note)}</span>' for note in notes[:_N_ABLATIONS]]
    if len(notes) > _N_ABLATIONS:
        lines.append(f"and {len(notes) - _N_ABLATIONS} more")
    return f'<div class="ne-ablations" style="margin-top:4px"><b>overwritten</b> {", ".join(lines)}</div>'


def _history(steps: Sequence[Step], why: AttributionTables) -> str:
    """The answers that led to this one, and how much the number has changed if it is the same one."""
    if not steps:
        return ""
    lines = [f"{escaped(step.title)} = {format_value(step.value)}" for step in steps]
    here = "this answer"
    if steps[-1].title == why.inquiry.title:
        here += f", changed by {signed(why.value - steps[-1].value)}"
    earlier = " → ".join([*lines, here])
    return (
        f'<div class="ne-history" style="border-top:1px solid {LINE};margin-top:6px;padding-top:4px;{_SMALL};'
        f'overflow-wrap:anywhere">before: {earlier}</div>'
    )
