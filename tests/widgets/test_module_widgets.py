"""The Python side of the frontend modules: messages from the page, which is not trusted."""

import gc
import weakref
from typing import Any

import ipywidgets as widgets
import pytest

from neuron_explainer.views.heatmap import format_value
from neuron_explainer.widgets.modules.box import module_box
from neuron_explainer.widgets.modules.module_widget import ModuleWidget
from neuron_explainer.widgets.modules.node_rows import NodeRows
from neuron_explainer.widgets.modules.page import VIEWER_SHORTCUTS, PageModule


def _receive(module: ModuleWidget, content: Any) -> None:
    module._handle_custom_msg(content, [])


def _heard(module: ModuleWidget) -> list[tuple[str, str]]:
    heard: list[tuple[str, str]] = []
    module.on_action(lambda kind, node: heard.append((kind, node)))
    return heard


def test_actions_on_rows() -> None:
    rows = NodeRows()
    heard = _heard(rows)
    for number, kind in enumerate(("open", "ablate", "trace", "verify"), 7):
        _receive(rows, {"kind": kind, "node": "L2H3@5<-1", "number": number})
        assert rows.taken == number
    assert heard == [(kind, "L2H3@5<-1") for kind in ("open", "ablate", "trace", "verify")]


def test_actions_on_the_page() -> None:
    page = PageModule()
    heard = _heard(page)
    for number, message in enumerate(
        ({"kind": "open", "node": "L2H3"}, {"kind": "token", "node": "5"}, {"kind": "back"}, {"kind": "forward"}), 1
    ):
        _receive(page, {**message, "number": number})
    assert heard == [("open", "L2H3"), ("token", "5"), ("back", ""), ("forward", "")]
    assert page.taken == 4


def test_actions_on_a_viewer() -> None:
    page = PageModule(VIEWER_SHORTCUTS, "Neurons")
    heard = _heard(page)
    for number, kind in enumerate((*VIEWER_SHORTCUTS, "ask", "back"), 1):
        _receive(page, {"kind": kind, "number": number})
    _receive(page, {"kind": "open", "node": "L2N5", "number": 20})
    assert heard == [(kind, "") for kind in VIEWER_SHORTCUTS] + [("open", "L2N5")]
    state = page.get_state()
    assert (state["shortcuts"], state["label"]) == (VIEWER_SHORTCUTS, "Neurons")


def test_a_page_cannot_widen_what_it_may_send() -> None:
    page = PageModule(VIEWER_SHORTCUTS)
    heard = _heard(page)
    page.set_state({"shortcuts": ["ask"]})
    _receive(page, {"kind": "ask", "number": 1})
    assert heard == []


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "open",
        {},
        {"kind": "open", "node": "L0H0"},
        {"kind": "open", "node": "L0H0", "number": "1"},
        {"kind": "open", "node": "L0H0", "number": True},
        {"kind": "open", "node": "L0H0", "number": 1.5},
        {"kind": "open", "node": ["L0H0"], "number": 1},
        {"kind": "open", "node": "L" * 1000, "number": 1},
        {"kind": "open", "node": "", "number": 1},
        {"kind": "open", "number": 1},
        {"kind": ["open"], "node": "L0H0", "number": 1},
        {"kind": "__class__", "node": "L0H0", "number": 1},
        {"kind": "back", "node": "L0H0", "number": 1},
        {"kind": "token", "node": None, "number": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("made", [NodeRows, PageModule])
def test_other_messages_are_ignored(made: type[ModuleWidget], content: Any) -> None:
    module = made()
    heard = _heard(module)
    _receive(module, content)
    assert (heard, module.taken) == ([], 0)


def test_a_message_is_taken_before_the_work_begins() -> None:
    rows = NodeRows()
    seen = []
    rows.on_action(lambda kind, node: seen.append(rows.taken))
    _receive(rows, {"kind": "open", "node": "L0H0", "number": 12})
    assert seen == [12]


def test_a_callback_can_be_removed() -> None:
    rows = NodeRows()
    heard: list[str] = []

    def hear(kind: str, node: str) -> None:
        heard.append(kind)

    rows.on_action(hear)
    rows.on_action(hear, remove=True)
    _receive(rows, {"kind": "open", "node": "L0H0", "number": 1})
    assert heard == []


def test_what_the_page_gets() -> None:
    rows = NodeRows(table={"columns": [], "rows": []}, note="5 of 10")
    state = rows.get_state()
    shared = {"table": rows.table, "chosen": "", "sort": {}, "note": "5 of 10", "taken": 0}
    assert {name: state[name] for name in shared} == shared
    assert "export{" in state["_esm"]
    assert PageModule().get_state()["taken"] == 0


def test_a_module_that_nobody_uses_goes_away() -> None:
    rows = NodeRows()
    rows.on_action(lambda kind, node: None)
    gone = weakref.ref(rows)
    rows.close()
    del rows
    gc.collect()
    assert gone() is None


def test_a_box_hides_the_error_of_a_module_that_is_missing() -> None:
    rows = NodeRows()
    box = module_box(rows)
    style, module = box.children
    assert module is rows
    assert isinstance(style, widgets.HTML)
    assert ".ne-module-box .jupyter-widgets-error-widget" in style.value
    assert "ne-module-box" in box._dom_classes


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (-0.123456, "−0.1235"),
        (0.0001, "0.0001"),
        (0.00001234, "1.234e−05"),
        (-123456.0, "−1.235e+05"),
        (9999.6, "1e+04"),
        (1234.4, "1234"),
        (99.999, "100"),
        (float("inf"), "∞"),
        (float("-inf"), "−∞"),
        (float("nan"), "not a number"),
    ],
)
def test_numbers_that_the_modules_write_in_the_same_way(value: float, text: str) -> None:
    """tools/widget_modules/tests/numbers.test.ts has the same pairs."""
    assert format_value(value) == text
