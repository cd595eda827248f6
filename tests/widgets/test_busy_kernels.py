"""What a page says of kernels that wait, and which shell answers its widgets."""

from types import SimpleNamespace
from typing import Any

import ipywidgets as widgets
import pytest

from neuron_explainer.widgets import busy_kernel
from neuron_explainer.widgets.busy_kernel import answer_while_busy, waiting_note


@pytest.mark.parametrize(
    ("kernel", "said", "is_replaced"),
    [
        (None, "", False),
        (SimpleNamespace(), "this page waits: what is chosen here is taken when the cell ends", False),
        (SimpleNamespace(_supports_kernel_subshells=False), "this page waits: ", False),
        (SimpleNamespace(_supports_kernel_subshells=True), "answers in JupyterLab 4.4", True),
    ],
)
def test_what_a_page_says(monkeypatch: pytest.MonkeyPatch, kernel: Any, said: str, is_replaced: bool) -> None:
    monkeypatch.setattr(busy_kernel, "ipython_shell", lambda: SimpleNamespace(kernel=kernel))
    note = waiting_note()
    assert said in note.value
    assert bool(said) is bool(note.value)
    assert ("ne-replaced" in note._dom_classes) is is_replaced


def test_messages_go_where_the_front_end_sends_them() -> None:
    button = widgets.Button()
    box = widgets.VBox([widgets.HBox([button])])
    for widget in (box, button):
        widget.comm._reply_subshell_for = lambda data, default: None  # as in ipykernel 7.4: the shell of the cells
    answer_while_busy(box)
    assert box.comm._reply_subshell_for is None
    assert button.comm._reply_subshell_for is None


def test_comms_of_other_kernels_are_left_alone() -> None:
    box = widgets.VBox([widgets.Button()])
    before = dict(vars(box.comm))
    answer_while_busy(box)
    assert vars(box.comm) == before
