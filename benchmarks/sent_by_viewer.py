"""What an AttributionViewer sends to the front end, in bytes of JSON; counted without a notebook."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import comm

import neuron_explainer as ne
from benchmarks.viewer_in_lab import TEXT
from neuron_explainer.widgets.attribution.work.sections import Section


class _Counter(comm.base_comm.BaseComm):
    """A connection that counts what is sent."""

    sent = 0

    def publish_msg(self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **_: Any) -> None:
        _Counter.sent += len(json.dumps(data or {}))


def sent_by(action: Callable[[], object]) -> int:
    """How many bytes an action sends."""
    _Counter.sent = 0
    action()
    return _Counter.sent


def print_sizes(what: str, source: str, n_tokens: int) -> None:
    """Print how much is sent for the page, an answer, rows, a node and each picture."""
    comm.create_comm = _Counter
    model = ne.load_model(source, device="cpu")
    prompt = model.encode(TEXT * 40)[:n_tokens]
    made: list[ne.AttributionViewer] = []

    def show(section: Section) -> Callable[[], object]:
        def choose() -> None:
            made[0].sections.section.value = section
            made[0].wait()

        return choose

    def rows(**fields: Any) -> Callable[[], object]:
        def choose() -> None:
            table = made[0].table
            table.choose(replace(table.choice, **fields))
            made[0]._table_chosen()
            made[0].wait()

        return choose

    actions: dict[str, Callable[[], object]] = {
        "the page": lambda: made.append(ne.AttributionViewer(model, prompt)),
        "an ablation": lambda: made[0].ablate("L0MLP"),
        "Back": lambda: made[0].back(),
        "a head that is opened": lambda: made[0].show_node("L2H3"),
        "other rows, of one kind": rows(kind="head"),
        "1,000 of each column": rows(kind=None, n=1000),
        "10,000 rows": rows(by="activation", n=10_000),
        **{f"picture {section.value!r}": show(section) for section in reversed(Section)},
    }
    for name, action in actions.items():
        print(f"{what}: sent for {name}: {sent_by(action) / 1e3:.0f} KB")
    made[0].close()
