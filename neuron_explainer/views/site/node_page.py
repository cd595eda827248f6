"""The page of one component of a site, smaller than a bound."""

from __future__ import annotations

from neuron_explainer.components.batches.with_tables import TabledComponent
from neuron_explainer.views.component_kinds import component_kind
from neuron_explainer.views.components.page import record_part, sections_around_record
from neuron_explainer.views.document import MUTED, card
from neuron_explainer.views.heatmap import DEFAULT_WIDTH
from neuron_explainer.views.site.frame import MOST_BYTES, link, navigation, site_document
from neuron_explainer.views.site.plan import INDEX, OF_LIST, SitePlan
from neuron_explainer.views.site.subject import SiteSubject
from neuron_explainer.views.token_text import escaped

_SMALL = f'style="color:{MUTED};font-size:12px"'
_FEWER = "Fewer examples and narrower excerpts are shown, so that this page stays under 1 MB."
_LEFT_OUT = "This part is left out, so that the page stays under 1 MB."
_FRAME_BYTES = 20_000  # what is around the sections


def node_page(
    component: TabledComponent, plan: SitePlan, subject: SiteSubject, examples: int, neighbours: int
) -> bytes:
    """A component's page as a file.

    Args:
        component: the component.
        plan: the site.
        subject: what the site is of.
        examples: how many top examples are shown, if the page stays small enough.
        neighbours: how many neighbours of each sort are shown.
    """
    own = plan.page_of(component.layer, component.index)
    root = "../" * own.count("/")

    def address(name: str) -> str | None:
        path = plan.page_of_name(name)
        return None if path is None else root + path

    before, after = sections_around_record(component, address, neighbours)
    room = MOST_BYTES - _FRAME_BYTES
    note, record = "", ""
    for n_examples, width in _narrower(examples):
        record = record_part(component, n_examples, width)
        if _size(*before, record, *after) < room:
            break
        note = _FEWER
    sections = [*before, record, *after]
    while _size(*sections) >= room:
        largest = max(range(len(sections)), key=lambda place: _size(sections[place]))
        sections[largest] = f"<p {_SMALL}>{_LEFT_OUT}</p>"
    about = f"<p {_SMALL}>{note}</p>" if note else ""
    content = subject.without_paths(card("".join([about, *sections]), "ne-component"))
    return site_document(
        f"{_head(component, plan, subject, root)}{content}</main>", f"{component.name} · {subject.title}"
    ).encode()


def _narrower(examples: int) -> list[tuple[int, int]]:
    """What is tried one after the other: how many examples, and how many tokens of each."""
    fewer = [(number, width) for number, width in ((3, DEFAULT_WIDTH), (2, 24), (1, 8)) if number < examples]
    return [(examples, DEFAULT_WIDTH), *fewer]


def _size(*texts: str) -> int:
    return sum(len(text.encode(errors="surrogatepass")) for text in texts)


def _head(component: TabledComponent, plan: SitePlan, subject: SiteSubject, root: str) -> str:
    """The way to other pages, and the beginning of the page: what it is of."""
    layer, index = component.layer, component.index
    before, after = plan.around(layer, index)
    links = [
        link(root + INDEX, "Index"),
        link(root + plan.list_of(layer, plan.place(layer, index) // OF_LIST), f"Layer {layer}"),
        "" if before is None else _beside(plan, layer, before, root, "prev", "← "),
        "" if after is None else _beside(plan, layer, after, root, "next", "", " →"),
    ]
    words = f"{component_kind(component.dst)} {index} of layer {layer}"
    return (
        f"{navigation(links, 'Pages')}<main><h1>{escaped(str(component.name))} "
        f'<span class="about">{escaped(words)}</span></h1><p class="about">{subject.about}</p>'
    )


def _beside(plan: SitePlan, layer: int, index: int, root: str, relation: str, left: str, right: str = "") -> str:
    words = f"{left}{plan.name(layer, index)}{right}"
    return link(root + plan.page_of(layer, index), words, f'rel="{relation}"')
