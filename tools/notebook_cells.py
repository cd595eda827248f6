"""Notebook sources in percent format, as cells."""

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

SOURCES = Path(__file__).parent / "notebook_sources"
COLAB_CELL = SOURCES / "_colab_cell.py"

_MARKER = re.compile(r"^# %%(?P<markdown> \[markdown\])?(?: tags=(?P<tags>\[.*\]))?$")


class NotebookSourceError(ValueError):
    """A notebook's source is not what the percent format allows."""


@dataclass
class Cell:
    """One cell of a source: what it says, whether that is Markdown, and its tags."""

    is_markdown: bool
    tags: list[str]
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What stands in the notebook."""
        if not self.is_markdown:
            return "\n".join(self.lines).strip("\n")
        return "\n".join(line.removeprefix("#").removeprefix(" ") for line in self.lines).strip("\n")


def read_cells(source: Path) -> list[Cell]:
    """The cells of a percent-format source; comments before its first marker are for the reader of the source.

    Raises:
        NotebookSourceError: code before the first marker, a marker that cannot be read, or Markdown that is no comment.
    """
    cells: list[Cell] = []
    for number, line in enumerate(source.read_text(encoding="utf-8").splitlines(), start=1):
        where = f"{source.name}, line {number}"
        if line.startswith("# %%"):
            marker = _MARKER.match(line)
            if marker is None:
                raise NotebookSourceError(f'{where}: write `# %%` or `# %% [markdown]`, then perhaps ` tags=["…"]`')
            tags = ast.literal_eval(marker["tags"]) if marker["tags"] else []
            cells.append(Cell(is_markdown=marker["markdown"] is not None, tags=tags))
        elif not cells:
            if line and not line.startswith("#"):
                raise NotebookSourceError(f"{where}: code before the first `# %%`")
        elif cells[-1].is_markdown and line and not line.startswith("#"):
            raise NotebookSourceError(f"{where}: every line of a Markdown cell is a comment")
        else:
            cells[-1].lines.append(line)
    return cells


def build_notebook(name: str) -> nbformat.NotebookNode:
    """The notebook of `notebook_sources/NAME.py`, not executed, the Colab cell first.

    Cells are named by their place, so that the same source gives the same bytes.

    Raises:
        NotebookSourceError: there is no such source, or it cannot be read.
    """
    source = SOURCES / f"{name}.py"
    if not source.is_file():
        raise NotebookSourceError(f"there is no {source.name} in {SOURCES}; there is: {', '.join(notebook_names())}")
    notebook_cells = []
    for place, cell in enumerate([*read_cells(COLAB_CELL), *read_cells(source)]):
        new_cell = nbformat.v4.new_markdown_cell if cell.is_markdown else nbformat.v4.new_code_cell
        metadata: dict[str, Any] = {"tags": cell.tags} if cell.tags else {}
        notebook_cells.append(new_cell(cell.text, id=f"cell-{place}", metadata=metadata))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return nbformat.v4.new_notebook(cells=notebook_cells, metadata=metadata)


def notebook_names() -> list[str]:
    """The names of all notebooks that have a source."""
    return sorted(path.stem for path in SOURCES.glob("*.py") if not path.name.startswith("_"))
