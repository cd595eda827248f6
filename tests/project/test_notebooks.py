"""The committed notebooks: what their sources give, executed, and small."""

import sys
from pathlib import Path

import nbformat
import pytest

from helpers.paths import REPOSITORY

ROOT = REPOSITORY
sys.path.insert(0, str(ROOT / "tools"))

from notebook_cells import NotebookSourceError, build_notebook, notebook_names, read_cells  # noqa: E402

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def _committed(name: str) -> nbformat.NotebookNode:
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def test_every_notebook_has_a_source() -> None:
    assert sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb")) == notebook_names()


@pytest.mark.parametrize("name", notebook_names())
def test_a_notebook_is_what_its_source_gives(name: str) -> None:
    cells = [(cell.cell_type, cell.source) for cell in build_notebook(name).cells]
    assert [(cell.cell_type, cell.source) for cell in _committed(name).cells] == cells, (
        f"run python tools/make_notebooks.py {name}"
    )


@pytest.mark.parametrize("name", notebook_names())
def test_a_notebook_is_executed_small_and_without_widget_state(name: str) -> None:
    notebook = _committed(name)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert "INSTALL_FROM" in code[0].source
    assert code[0] is notebook.cells[0]
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if WIDGET_VIEW in output.get("data", {})]
    assert "widgets" not in notebook.metadata
    assert (ROOT / "notebooks" / f"{name}.ipynb").stat().st_size < 1_500_000


def test_sources_are_read(tmp_path: Path) -> None:
    source = tmp_path / "a.py"
    source.write_text('# ruff: noqa\n# %% [markdown]\n# # Title\n#\n# Words\n# %% tags=["x"]\na = 1\n\n\n# note\n')
    markdown, code = read_cells(source)
    assert (markdown.is_markdown, markdown.text, markdown.tags) == (True, "# Title\n\nWords", [])
    assert (code.is_markdown, code.text, code.tags) == (False, "a = 1\n\n\n# note", ["x"])


@pytest.mark.parametrize("text", ["a = 1\n# %%\n", "# %% [markdown]\nwords\n", "# %% nonsense\n"])
def test_what_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    source = tmp_path / "a.py"
    source.write_text(text)
    with pytest.raises(NotebookSourceError, match=r"a\.py, line"):
        read_cells(source)
