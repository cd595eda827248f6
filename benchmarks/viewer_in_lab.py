"""An AttributionViewer in JupyterLab in Chromium, and the time from a click to its paint."""

import contextlib
import functools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # its helpers are no package of their own

from helpers.lab_in_chromium import (
    JupyterServer,
    NotebookPage,
    chromium,
    chromium_path,
    jupyter_server,
    open_in_lab,
)

__all__ = ["PAGE_SCRIPT", "Click", "ViewerInLab", "chromium", "has_chromium", "jupyter_server", "lab", "open_in_lab"]

TEXT = "And the LORD said unto Moses, Go in unto Pharaoh, and speak to him about the people. "
_REPOSITORY = Path(__file__).parent.parent
_LOAD = """
import os, sys
sys.path.insert(0, {repository!r})
import ipywidgets
import neuron_explainer as ne
from benchmarks.measure import resident_bytes
model = ne.load_model({source!r})
prompt = model.encode({text!r} * 40)[:{n_tokens}]
other = [*prompt[:5], prompt[6], *prompt[6:]]
assert len(prompt) == len(other) == {n_tokens}
before = resident_bytes("VmRSS")
print("process", os.getpid())
"""
_SHOW = """
plain, count = ipywidgets.Button(description="Round trip"), ipywidgets.HTML("0")
plain.add_class("ne-plain"), count.add_class("ne-plain-count")
plain.on_click(lambda _: setattr(count, "value", str(int(count.value) + 1)))
forget = ipywidgets.Button(description="Forget pictures")
forget.on_click(lambda _: viewer._content.drawn.sections._made.clear())
display(plain, count, forget)
viewer = ne.AttributionViewer(model, prompt, other_prompt=other)
viewer
"""
_MEMORY = (
    'print("peak", (resident_bytes("VmHWM") - before) // 2**20, "now", (resident_bytes("VmRSS") - before) // 2**20)'
)

PAGE_SCRIPT = """
window.ne = {
    get page() { return document.querySelector('.ne-attribution-viewer'); },
    text: selector => ne.page.querySelector(selector)?.textContent ?? '',
    part: selector => ne.page.querySelector(selector)?.firstElementChild,
    get top() { return ne.part('.widget-html-content:has(> .ne-attribution)'); },
    get picture() { return ne.part('.ne-sections .widget-html-content'); },
    get node() { return ne.part('.ne-node-panel .widget-html-content'); },
    get rows() { return ne.text('.ne-rows-count') + ne.text('.ne-rows-grid'); },
    get isIdle() { return ne.text('.ne-status [role=status]').startsWith('Showing'); },
    press: label => [...document.querySelectorAll('button')].filter(
        each => each.offsetParent && !each.closest('.ne-viewer') && each.textContent.trim() === label).at(-1).click(),
    field: label => [...ne.page.querySelectorAll('.widget-label, .widget-label-basic')].find(
        each => each.textContent.trim() === label).parentElement.querySelector('input, select'),
    check: label => ne.field(label).click(),
    choose: (label, option) => {
        const select = ne.field(label);
        select.selectedIndex = [...select.options].findIndex(
            each => each.textContent.replaceAll('\\u00a0', ' ') === option);
        select.dispatchEvent(new Event('change', {bubbles: true}));
    },
    filter: text => {
        const field = ne.page.querySelector('.ne-rows-filter');
        field.value = text;
        field.dispatchEvent(new Event('input'));
    },
    write: (label, text) => {
        const field = ne.field(label);
        field.value = text;
        for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, {bubbles: true}));
    },
    // Milliseconds from an action to the end of the frame in which its result is on the page
    time: (act, isDone) => new Promise((resolve, reject) => {
        const start = performance.now();
        const look = () => {
            if (performance.now() - start > 60_000) return reject(new Error(`not done: ${act} ${isDone}`));
            if (!isDone()) return requestAnimationFrame(look);
            const painted = new MessageChannel();
            painted.port1.onmessage = () => resolve(performance.now() - start);
            painted.port2.postMessage('');
        };
        act();
        requestAnimationFrame(look);
    }),
    scroll: n_frames => new Promise(resolve => {
        const grid = ne.page.querySelector('.ne-rows-grid');
        const step = (grid.scrollHeight - grid.clientHeight) / n_frames;
        const times = [];
        grid.scrollTop = 0;
        const next = now => {
            times.push(now);
            if (times.length > n_frames + 1) return resolve(times.slice(1).map((time, at) => time - times[at]));
            grid.scrollTop = step * times.length;
            requestAnimationFrame(next);
        };
        requestAnimationFrame(next);
    }),
};
"""


@dataclass(frozen=True)
class Click:
    """Something that is done on the page.

    Attributes:
        name: what it is, in words.
        act: JavaScript that does it.
        before: JavaScript, whose value `is_done` finds as `before`.
        is_done: JavaScript: whether its result is on the page.
        first: JavaScript of what must be there before; it is not timed.
    """

    name: str
    act: str
    before: str
    is_done: str
    first: str = ""


@dataclass
class ViewerInLab:
    """A notebook that shows a viewer."""

    opened: NotebookPage

    def __post_init__(self) -> None:
        self._devtools = self.opened.page.context.new_cdp_session(self.opened.page)
        self._devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
        self.processor = 0.0
        """Milliseconds that the processor spent on the last click, in the page's main thread and the kernel."""

    def _processor(self) -> float:
        metrics = self._devtools.send("Performance.getMetrics")["metrics"]
        (page,) = (each["value"] for each in metrics if each["name"] == "TaskDuration")
        fields = Path(f"/proc/{self._kernel}/stat").read_text().rpartition(")")[2].split()
        return 1e3 * (page + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))

    @functools.cached_property
    def _kernel(self) -> int:
        """The number of the kernel's process, which the first cell prints."""
        return int(self.opened.outputs().filter(has_text="process").last.inner_text().split()[-1])

    def time(self, click: Click, settle: int = 0) -> float:
        """Milliseconds from the click until its result is painted.

        Args:
            click: the click.
            settle: milliseconds to wait first, so that what follows an earlier one is over.
        """
        if click.first:
            self.opened.page.evaluate(f"() => {{ {click.first} }}")
        self.opened.page.wait_for_timeout(settle)
        act, is_done = f"() => {{ {click.act} }}", f"() => {click.is_done}"
        code = f"() => {{ const before = {click.before}; return ne.time({act}, {is_done}); }}"
        before = self._processor()
        found: float = self.opened.page.evaluate(code)
        self.processor = self._processor() - before
        return found

    def scroll(self, n_frames: int) -> list[float]:
        """Milliseconds of each frame while the rows scroll from the first to the last."""
        before = self._processor()
        found: list[float] = self.opened.page.evaluate(f"() => ne.scroll({n_frames})")
        self.processor = self._processor() - before
        return found

    def run_cell(self, number: int) -> None:
        """Run a cell, and wait until it has ended."""
        self.opened.page.evaluate(_RUN_CELL, number)

    def count(self) -> str:
        """How many rows there are, in words."""
        found: str = self.opened.page.evaluate("() => ne.text('.ne-rows-count')")
        return found

    def close(self) -> None:
        """Close the notebook's page and its kernel."""
        self.opened.close()
        self.opened.server.stop_kernels()

    def memory(self) -> str:
        """How much the kernel's memory rose above the model."""
        self.run_cell(2)
        return self.opened.outputs().filter(has_text="peak").last.inner_text().strip()


_RUN_CELL = """async number => {
    const panel = window.jupyterapp.shell.currentWidget;
    panel.content.activeCellIndex = number;
    await window.jupyterapp.commands.execute('notebook:run-cell');
}"""
PAGE_IS_THERE = Click(
    "the page is there",
    f"({_RUN_CELL})(1)",
    "0",
    "ne.page?.querySelector('.ne-rows-grid [data-place]') && ne.page.matches('.ne-module')",
)


@contextlib.contextmanager
def lab() -> Iterator[Callable[[str, int], ViewerInLab]]:
    """Context manager: a function that loads a model in a notebook; the viewer's cell is not run yet.

    Its arguments are what `ne.load_model` takes, and the number of the prompt's tokens.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        jupyter_server(Path(folder)) as server,
        chromium() as browser,
    ):

        def opened(source: str, n_tokens: int) -> ViewerInLab:
            path = _notebook(server, source, n_tokens)
            page = open_in_lab(browser, server, path, height=1000)
            page.page.set_default_timeout(240_000)
            found = ViewerInLab(page)
            page.page.evaluate(PAGE_SCRIPT)
            found.run_cell(0)
            return found

        yield opened


def _notebook(server: JupyterServer, source: str, n_tokens: int) -> Path:
    cells: list[Any] = [
        nbformat.v4.new_code_cell(text)
        for text in (
            _LOAD.format(repository=str(_REPOSITORY), source=source, text=TEXT, n_tokens=n_tokens),
            _SHOW,
            _MEMORY,
        )
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    path = server.root / f"{Path(source).stem[:6]}_{n_tokens}.ipynb"
    nbformat.write(notebook, path)
    return path


def has_chromium() -> bool:
    """Whether there is a browser to measure in."""
    return chromium_path() is not None
