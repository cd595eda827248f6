"""The committed notebooks: what their sources give, executed, and small."""

import ast
import sys

import nbformat
import pytest

import neuron_explainer as ne
from helpers.paths import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "tools"))

import make_notebooks
from make_notebooks import NotebookError, build_notebook, is_current, notebook_names, same_cells

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def _committed(name: str) -> nbformat.NotebookNode:
    return nbformat.read(REPOSITORY / "notebooks" / f"{name}.ipynb", as_version=4)


def test_every_notebook_has_a_source() -> None:
    assert sorted(path.stem for path in (REPOSITORY / "notebooks").glob("*.ipynb")) == notebook_names()


@pytest.mark.parametrize("name", notebook_names())
def test_a_notebook_is_what_its_source_gives(name: str) -> None:
    assert is_current(name), f"run python tools/make_notebooks.py {name}"


@pytest.mark.parametrize("name", notebook_names())
def test_a_notebook_begins_with_its_title_and_folds_the_colab_cell(name: str) -> None:
    title, colab, *_ = _committed(name).cells
    assert title.source.startswith("# ")
    assert "INSTALL_FROM" in colab.source
    assert colab.source.startswith("# @title")
    assert colab.metadata["cellView"] == "form"
    assert colab.metadata["jupyter"] == {"source_hidden": True}


@pytest.mark.parametrize("name", notebook_names())
def test_a_notebook_is_executed_small_and_without_widget_state(name: str) -> None:
    notebook = _committed(name)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if WIDGET_VIEW in output.get("data", {})]
    assert "widgets" not in notebook.metadata
    assert (REPOSITORY / "notebooks" / f"{name}.ipynb").stat().st_size < 1_500_000


@pytest.mark.parametrize("name", notebook_names())
def test_a_notebook_takes_public_names_from_the_package_itself(name: str) -> None:
    code = "\n".join(cell.source for cell in _committed(name).cells if cell.cell_type == "code")
    imported = {
        alias.name
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("neuron_explainer")
        for alias in node.names
    }
    assert not imported & set(ne.__all__)


def _source(folder, text, monkeypatch):
    monkeypatch.setattr(make_notebooks, "SOURCES", folder)
    (folder / "a.py").write_text(text)
    return build_notebook("a")


def test_sources_are_read(tmp_path, monkeypatch) -> None:
    text = '# %% [markdown]\n# # Title\n#\n# Words\n\n# %% tags=["x"]\na = 1\n\n\n# note\n'
    notebook = _source(tmp_path, text, monkeypatch)
    title, _, code = notebook.cells
    assert (title.cell_type, title.source) == ("markdown", "# Title\n\nWords")
    assert (code.cell_type, code.source, code.metadata.tags) == ("code", "a = 1\n\n\n# note", ["x"])
    assert [cell.id for cell in notebook.cells] == ["cell-0", "cell-1", "cell-2"]
    changed = _source(tmp_path, text.replace("a = 1", "a = 2"), monkeypatch)
    assert same_cells(notebook, notebook)
    assert not same_cells(notebook, changed)


def test_a_source_without_a_title_is_refused(tmp_path, monkeypatch) -> None:
    with pytest.raises(NotebookError, match=r"a\.py: the first cell must be Markdown"):
        _source(tmp_path, "# %%\na = 1\n", monkeypatch)


def test_an_unknown_notebook_names_the_choices() -> None:
    with pytest.raises(NotebookError, match="explore_neurons"):
        build_notebook("absent")
