"""Make `notebooks/NAME.ipynb` from `tools/notebook_sources/NAME.py`: executed, and without widget state.

Usage:
    python tools/make_notebooks.py [NAME …]             the named notebooks, or all of them
    python tools/make_notebooks.py --check [NAME …]     report notebooks that differ from their sources; run nothing
"""

import argparse
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
SOURCES = ROOT / "tools" / "notebook_sources"
COLAB_CELL = SOURCES / "_colab_cell.py"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_MAX_BYTES = 1_500_000


class NotebookError(RuntimeError):
    """A notebook cannot be made, or must not be committed as it is."""


def notebook_names() -> list[str]:
    """The names of all notebooks."""
    return sorted(path.stem for path in SOURCES.glob("*.py") if not path.name.startswith("_"))


def build_notebook(name: str) -> nbformat.NotebookNode:
    """Build the notebook of `notebook_sources/NAME.py` without running it.

    The source is in jupytext's percent format. The Colab cell comes second, after the title. A cell's id is its
    position, so that the same source gives the same bytes.

    Raises:
        NotebookError: the source does not exist, or does not begin with a Markdown cell.
    """
    source = SOURCES / f"{name}.py"
    if not source.is_file():
        raise NotebookError(f"{name} is not a notebook. Choose one of: {', '.join(notebook_names())}")
    title, *others = jupytext.read(source, fmt="py:percent").cells
    if title.cell_type != "markdown":
        raise NotebookError(f"{source.name}: the first cell must be Markdown, with the title and an introduction")
    cells = [title, *jupytext.read(COLAB_CELL, fmt="py:percent").cells, *others]
    for position, cell in enumerate(cells):
        cell["id"] = f"cell-{position}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def executed(name: str) -> nbformat.NotebookNode:
    """Run a notebook from top to bottom in a fresh kernel, and remove what belongs to this run only.

    Raises:
        NotebookError: its output names a folder of this machine, or is too large.
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
            cell.outputs = [kept for output in cell.outputs if (kept := _without_widget(output)) is not None]
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    text = nbformat.writes(notebook)
    for folder in (ROOT, Path.home()):
        if str(folder) != "/" and f"{folder}/" in text:
            raise NotebookError(f"{name}: its output names the folder {folder}. Do not print that path.")
    if len(text) > _MAX_BYTES:
        raise NotebookError(f"{name}: {len(text):,} bytes exceed the limit of {_MAX_BYTES:,} bytes. Show less.")
    return notebook


def _without_widget(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """Drop the live widget, whose model is gone with the kernel; None if only its text form is left."""
    data = output.get("data")
    if data is None or WIDGET_VIEW not in data:
        return output
    del data[WIDGET_VIEW]
    return output if set(data) - {"text/plain"} else None


def same_cells(built: nbformat.NotebookNode, committed: nbformat.NotebookNode) -> bool:
    """Whether two notebooks have the same cells, outputs aside."""
    cells = [[(cell.cell_type, cell.source, cell.metadata) for cell in book.cells] for book in (built, committed)]
    return cells[0] == cells[1]


def is_current(name: str) -> bool:
    """Whether the committed notebook has exactly the cells of its source."""
    path = NOTEBOOKS / f"{name}.ipynb"
    return path.is_file() and same_cells(build_notebook(name), nbformat.read(path, as_version=4))


def main() -> int:
    """Make or check the notebooks that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--check", action="store_true", help="compare with the sources, run nothing")
    arguments = parser.parse_args()
    names = arguments.names or notebook_names()
    if arguments.check:
        stale = [name for name in names if not is_current(name)]
        for name in stale:
            print(f"notebooks/{name}.ipynb differs from its source. Run: python tools/make_notebooks.py {name}")
        return 1 if stale else 0
    for name in names:
        path = NOTEBOOKS / f"{name}.ipynb"
        nbformat.write(executed(name), path)
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
