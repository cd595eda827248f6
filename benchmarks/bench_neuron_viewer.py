"""What a NeuronViewer costs: from a click to its paint in JupyterLab, the size of a page, and 500 visits.

Run as `python -m benchmarks.bench_neuron_viewer`; the clicks need Chromium. They take turns with a plain button, whose
callback sets the text of an HTML widget: the figures are milliseconds beyond its round trip.
"""

import gc
import os
import statistics
import tempfile
import time
from pathlib import Path

import nbformat
import torch

from benchmarks.measure import resident_bytes
from benchmarks.viewer_in_lab import PAGE_SCRIPT, chromium, has_chromium, jupyter_server, open_in_lab
from neuron_explainer.widgets.neuron_viewer import NeuronViewer

ASKED_CLICK = 100.0  # milliseconds beyond the round trip
ASKED_PAGE = 300_000  # bytes
_ROUNDS = 12
_N_VISITS = 500
_CELL = """
import ipywidgets
import neuron_explainer as ne
plain, count = ipywidgets.Button(description="Round trip"), ipywidgets.HTML("0")
count.add_class("ne-plain-count")
plain.on_click(lambda _: setattr(count, "value", str(int(count.value) + 1)))
display(plain, count)
viewer = ne.NeuronViewer("tiny", {node!r})
viewer
"""
_COUNT = "document.querySelector('.ne-plain-count').textContent"
_RECORD = "document.querySelector('.ne-viewer .ne-record b')?.textContent"


def visits() -> None:
    """Print the size of a page, the time of a visit, and how memory rises over many."""
    for first in ("L0N0", "L0H0"):
        viewer = NeuronViewer("tiny", first)
        viewer.open_section("neighbours")
        n_components = viewer.controls.size.n_components or 1
        sizes, times, memory = [], [], []
        for number in range(_N_VISITS):
            start = time.perf_counter()
            viewer.show(layer=number // n_components % 4, neuron=number % n_components)
            viewer.wait()
            times.append(time.perf_counter() - start)
            sizes.append(len(viewer._view.value.encode()))
            if number % 100 == 99:
                gc.collect()
                memory.append(resident_bytes("VmRSS") >> 20)
        largest, visit = max(sizes), 1e3 * statistics.median(times)
        met = "met" if largest <= ASKED_PAGE else "MISSED"
        print(
            f"{first[2]}: a page has {statistics.median(sizes) / 1e3:.0f} kB, at most {largest / 1e3:.0f} (asked: "
            f"{ASKED_PAGE / 1e3:.0f}, {met}); a visit with its neighbours takes {visit:.0f} ms; memory after each 100 "
            f"visits: {', '.join(map(str, memory))} MiB"
        )
        viewer.close()


def clicks(node: str) -> None:
    """Print what Next takes in JupyterLab, beyond a plain button."""
    with tempfile.TemporaryDirectory() as folder, jupyter_server(Path(folder)) as server, chromium() as browser:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(_CELL.format(node=node))])
        notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
        path = server.root / "viewer.ipynb"
        nbformat.write(notebook, path)
        opened = open_in_lab(browser, server, path, height=1000)
        opened.run_all()
        opened.page.evaluate(PAGE_SCRIPT)

        def timed(act: str, state: str) -> float:
            code = f"() => {{ const before = {state}; return ne.time(() => {act}, () => {state} !== before); }}"
            opened.page.wait_for_timeout(300)
            found: float = opened.page.evaluate(code)
            return found

        button = "document.querySelector('.ne-viewer [title=\"Show the {} neuron\"]').click()"
        trips, taken = [], []
        for number in range(_ROUNDS + 1):
            trip = timed("ne.press('Round trip')", _COUNT)
            click = timed(button.format("next" if number % 2 == 0 else "previous"), _RECORD)
            if number > 1:  # the first two load the records
                trips.append(trip)
                taken.append(click)
        trip = statistics.median(trips)
        beyond, at_best = statistics.median(taken) - trip, min(taken) - min(trips)
        met = "met" if beyond <= ASKED_CLICK else "met at best" if at_best <= ASKED_CLICK else "MISSED"
        print(
            f"{node}: next, of a cached record: {beyond:.0f} ms beyond a plain button's {trip:.0f} ms (quickest "
            f"{at_best:.0f}); at most {ASKED_CLICK:g}: {met}"
        )
        opened.close()


def main() -> None:
    """Print all figures."""
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}")
    visits()
    if not has_chromium():
        print("Chromium is not installed: the clicks are not measured.")
        return
    for node in ("L1N355", "L2H2"):
        clicks(node)


if __name__ == "__main__":
    main()
