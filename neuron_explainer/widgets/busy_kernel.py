"""Whether a page is answered while a cell runs."""

import ipywidgets as widgets

from neuron_explainer.views.document import NO_MATHEMATICS
from neuron_explainer.widgets.parts import widgets_in
from neuron_explainer.widgets.references import ipython_shell


def has_subshells() -> bool:
    """Whether the kernel can take what a page sends while a cell runs: ipykernel 7 and newer, with subshells.

    The front end must send it there, too; JupyterLab does from 4.4 on.
    """
    kernel = getattr(ipython_shell(), "kernel", None)
    return bool(getattr(kernel, "_supports_kernel_subshells", False))


def answer_while_busy(box: widgets.Box) -> None:
    """Let a kernel with subshells answer the widgets in a box while a cell runs.

    The front end sends their messages to a subshell. ipykernel 7.4 hands them on to the shell from which the widget
    spoke last, mostly that of the cells: this is for widgets that wait for a reply in a cell, which these do not.
    """
    for widget in (box, *widgets_in(box)):
        if getattr(widget.comm, "_reply_subshell_for", None) is not None:
            widget.comm._reply_subshell_for = None


def waiting_note() -> widgets.HTML:
    """Whether the page waits while a cell runs, in words; empty outside of a notebook.

    Where the kernel has subshells it depends on the front end, which the module knows: it speaks when a choice waits,
    and this is hidden then.
    """
    note = widgets.HTML()
    if getattr(ipython_shell(), "kernel", None) is None:
        return note
    if has_subshells():
        text = "While a cell runs, this page answers in JupyterLab 4.4 and newer; elsewhere it waits, and "
        note.add_class("ne-replaced")
    else:
        text = "While a cell runs, this page waits: "
    note.value = (
        f'<div class="{NO_MATHEMATICS}" style="color:inherit;padding:0 6px;font-size:12px">{text}what is chosen here '
        "is taken when the cell ends.</div>"
    )
    return note
