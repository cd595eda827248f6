"""The pages that lead to a site's components: lists by layer, which need no script, and the index with the search."""

from __future__ import annotations

from collections.abc import Sequence

from neuron_explainer.views.component_kinds import component_kind
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.views.site.frame import link, navigation, site_document
from neuron_explainer.views.site.plan import INDEX, OF_LIST, SCRIPT, SEARCH_INDEX, SitePlan
from neuron_explainer.views.site.rows import Row
from neuron_explainer.views.site.subject import SiteSubject
from neuron_explainer.views.token_text import escaped
from neuron_explainer.wording import counted

COLUMNS = ("name", "explanation", "most active on", "writes", "max", "frequency")
_NUMERIC = ' class="number"'


def list_page(plan: SitePlan, subject: SiteSubject, layer: int, number: int, rows: Sequence[Row]) -> bytes:
    """One of the pages that list a layer's components.

    Args:
        plan: the site.
        subject: what it is of.
        layer: the layer.
        number: which of the layer's lists, from 0.
        rows: its components.
    """
    last = plan.n_lists[layer] - 1
    beside = [
        link("../" + INDEX, "Index"),
        link("../" + plan.list_of(layer, number - 1), "← Previous", 'rel="prev"') if number else "",
        link("../" + plan.list_of(layer, number + 1), "Next →", 'rel="next"') if number < last else "",
    ]
    heads = "".join(f'<th scope="col"{_NUMERIC if place > 3 else ""}>{name}</th>' for place, name in enumerate(COLUMNS))
    body = "".join(_row(plan, layer, row) for row in rows)
    which = f"{plan.name(layer, rows[0].index)} to {plan.name(layer, rows[-1].index)}"
    content = (
        f"{navigation(beside, 'Lists')}<main><h1>Layer {layer}</h1>"
        f'<p class="about">{subject.about} · {which}, page {number + 1} of {last + 1}</p>'
        f'<div class="scroll"><table class="list"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
        f"</main>{navigation(beside[1:], 'Lists, below')}"
    )
    return site_document(content, f"Layer {layer} · {subject.title}").encode()


def _row(plan: SitePlan, layer: int, row: Row) -> str:
    page = link("../" + plan.page_of(layer, row.index), plan.name(layer, row.index))
    numbers = (format_value(value) if value is not None else "" for value in (row.highest, row.frequency))
    return (
        f"<tr><td>{page}</td><td>{escaped(row.explanation)}</td>"
        + "".join(f'<td class="tokens"><bdi>{escaped(" ".join(each))}</bdi></td>' for each in (row.top, row.written))
        + "".join(f"<td{_NUMERIC}>{each}</td>" for each in numbers)
        + "</tr>"
    )


def index_page(plan: SitePlan, subject: SiteSubject) -> bytes:
    """The first page: what the site is of, the search, and the lists by layer.

    Args:
        plan: the site.
        subject: what it is of.
    """
    layers = "".join(f"<li>{_layer(plan, layer)}</li>" for layer in plan.layers)
    total = f"{counted(plan.n_pages, component_kind(subject.dst))} of {counted(len(plan.layers), 'layer')}"
    choices = "".join(f'<option value="{layer}">layer {layer}</option>' for layer in plan.layers)
    heads = "".join(
        f'<th scope="col"{_NUMERIC if place > 3 else ""}><button type="button">{name}</button></th>'
        for place, name in enumerate(COLUMNS)
    )
    content = (
        f'<main><h1>{escaped(subject.title)}</h1><p class="about">{subject.about} · {total}</p>'
        '<div class="controls" id="controls" role="search" hidden>'
        '<label>Search names, explanations and tokens<input id="asked" type="search" size="34" autocomplete="off">'
        '</label><label>Where<select id="layer"><option value="all">all layers</option>'
        f"{choices}</select></label>"
        '<button type="button" id="before">← Previous</button><button type="button" id="after">Next →</button>'
        '<span id="said" role="status" class="about"></span></div>'
        '<div class="scroll" id="found" hidden><table class="list"><thead><tr>'
        f"{heads}</tr></thead><tbody></tbody></table></div>"
        f'<h2>Lists by layer</h2><ul class="layers">{layers}</ul></main>'
    )
    return site_document(content, subject.title, (SCRIPT, SEARCH_INDEX)).encode()


def _layer(plan: SitePlan, layer: int) -> str:
    first = link(plan.list_of(layer, 0), f"Layer {layer}")
    return f'{first} <span class="about">{len(plan.layers[layer]):,}</span>'


def lists_of(rows: Sequence[Row]) -> list[Sequence[Row]]:
    """The rows of a chunk, by list page."""
    return [rows[start : start + OF_LIST] for start in range(0, len(rows), OF_LIST)]
