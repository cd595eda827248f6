"""Makes `notebooks/NAME.ipynb` from `tools/notebook_sources/NAME.py`, executed and without widget state.

Usage:
    python tools/make_notebooks.py [NAME …]             all notebooks that have a source, or those named
    python tools/make_notebooks.py --check [NAME …]     says which notebooks differ from their sources; runs nothing
"""

import argparse
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from notebook_cells import build_notebook, notebook_names

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_MOST_BYTES = 1_500_000


class UnfitNotebookError(RuntimeError):
    """An executed notebook is not one to be committed."""


def executed(name: str) -> nbformat.NotebookNode:
    """The notebook of a source, run from top to bottom in a fresh kernel, cleaned of what is of this run alone.

    Raises:
        UnfitNotebookError: its output names a folder of this machine, or is very large.
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = build_notebook(name)
    client = NotebookClient(
        notebook,
        timeout=900,
        kernel_name="python3",
        store_widget_state=False,
        resources={"metadata": {"path": str(NOTEBOOKS)}},
    )
    client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [kept for output in cell.outputs if (kept := _cleaned(output)) is not None]
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    text = nbformat.writes(notebook)
    for folder in (ROOT, Path.home()):
        if str(folder) != "/" and f"{folder}/" in text:
            raise UnfitNotebookError(f"{name}: its output names the folder {folder}; leave that out of what it shows")
    if len(text) > _MOST_BYTES:
        raise UnfitNotebookError(f"{name}: {len(text):,} bytes executed; {_MOST_BYTES:,} is the most: show less")
    return notebook


def _cleaned(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """The output without its live widget, whose model is gone with the kernel; None if nothing is left to see."""
    data = output.get("data")
    if data is None or WIDGET_VIEW not in data:
        return output
    del data[WIDGET_VIEW]
    return output if set(data) - {"text/plain"} else None


def sources_agree(name: str) -> bool:
    """Whether the committed notebook has exactly the cells of its source."""
    path = NOTEBOOKS / f"{name}.ipynb"
    if not path.is_file():
        return False
    wanted, found = build_notebook(name), nbformat.read(path, as_version=4)
    return [(cell.cell_type, cell.source) for cell in wanted.cells] == [
        (cell.cell_type, cell.source) for cell in found.cells
    ]


def main() -> int:
    """Makes or checks the notebooks that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--check", action="store_true", help="compare with the sources, run nothing")
    arguments = parser.parse_args()
    names = arguments.names or notebook_names()
    if arguments.check:
        stale = [name for name in names if not sources_agree(name)]
        for name in stale:
            print(f"notebooks/{name}.ipynb is not what its source gives: python tools/make_notebooks.py {name}")
        return 1 if stale else 0
    for name in names:
        path = NOTEBOOKS / f"{name}.ipynb"
        nbformat.write(executed(name), path)
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
