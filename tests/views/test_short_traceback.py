"""Errors of the library in IPython: the user's own lines and the message."""

import io
import pdb
import re
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.testing.globalipapp import start_ipython
from nbclient import NotebookClient

import neuron_explainer as ne

HINT = "neuron_explainer.errors.show_library_frames() and then %tb"
Failing = Callable[[str], str]


@pytest.fixture
def shell() -> Iterator[Any]:
    started = start_ipython() or InteractiveShell.instance()
    yield started
    ne.errors.show_library_frames(False)
    started.run_line_magic("xmode", "Context")


@pytest.fixture
def failing(shell: Any, monkeypatch: pytest.MonkeyPatch) -> Failing:
    """`failing(code)` runs a cell that fails, and returns what IPython shows, without colours."""
    shown: list[str] = []
    monkeypatch.setattr(shell, "_showtraceback", lambda _kind, _error, lines: shown.append("\n".join(lines)))

    def run(code: str) -> str:
        shown.clear()
        shell.run_cell(f"import neuron_explainer as ne\n{code}")
        (text,) = shown
        return re.sub(r"\x1b\[[\d;]*m", "", text)

    return run


def _library_frames(text: str) -> int:
    return len(re.findall(r"neuron_explainer/\w+[/\w]*\.py", text))


def test_the_users_line_and_the_message_are_shown(failing: Failing) -> None:
    text = failing('a = 1\nne.derive("And the", ["mlp_post_actt"], ne.load_model("tiny"))\nb = 2')
    assert _library_frames(text) == 0
    assert 'ne.derive("And the", ["mlp_post_actt"], ne.load_model("tiny"))' in text
    assert "UnknownNameError: Unknown derived scalar type 'mlp_post_actt'." in text
    assert "mlp_post_act" in text
    assert HINT in text.splitlines()[-1]
    assert len(text.splitlines()) < 15


def test_own_functions_above_and_below_the_library_stay(failing: Failing) -> None:
    text = failing(
        "import torch\n"
        "def change(values):\n"
        "    raise ne.errors.InvalidRequestError('in my function')\n"
        "def outer():\n"
        "    model = ne.load_model('tiny').get_or_create_model()\n"
        "    with model.intervene('resid_post_mlp', 0, change):\n"
        "        model(torch.tensor([[1, 2]]))\n"
        "outer()"
    )
    assert _library_frames(text) == 0
    assert "site-packages" not in text
    for line in ("outer()", "model(torch.tensor([[1, 2]]))", "raise ne.errors.InvalidRequestError('in my function')"):
        assert line in text
    assert text.index("model(torch") < text.index("raise ne.errors.InvalidRequestError")
    assert HINT in text


def test_an_error_of_the_users_own_code_has_no_hint(failing: Failing) -> None:
    text = failing("def mine():\n    raise ne.errors.InvalidRequestError('mine')\nmine()")
    assert "raise ne.errors.InvalidRequestError('mine')" in text
    assert HINT not in text


def test_causes_and_notes_are_shown(failing: Failing) -> None:
    text = failing(
        "def parse():\n"
        "    return int('seven')\n"
        "try:\n"
        "    parse()\n"
        "except ValueError as problem:\n"
        "    error = ne.errors.InvalidRequestError('not a number')\n"
        "    error.add_note('a note of mine')\n"
        "    raise error from problem"
    )
    assert "return int('seven')" in text
    assert "ValueError: invalid literal" in text
    assert "This is the cause of:" in text
    assert "a note of mine" in text
    assert text.index("invalid literal") < text.index("not a number")


def test_a_context_that_is_hidden_stays_hidden(failing: Failing) -> None:
    hidden = failing(
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise ne.errors.InvalidRequestError('x') from None"
    )
    assert "division by zero" not in hidden
    said = failing("try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise ne.errors.InvalidRequestError('x')")
    assert "ZeroDivisionError: division by zero" in said
    assert "While this was handled, this followed:" in said


def test_what_the_library_handled_is_left_out(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    handled = RuntimeError("no running event loop")
    with pytest.raises(ne.errors.UnknownDatasetError) as caught:
        ne.load_neuron("tinny", 2, 5)
    caught.value.__suppress_context__, caught.value.__context__ = False, handled
    text = "\n".join(caught.value._render_traceback_())
    assert "no running event loop" not in text
    assert "tinny" in text
    assert HINT in text


def test_causes_within_the_library_are_one_line(failing: Failing, tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "0.json").write_text("{")
    text = failing(f"ne.load_neuron({str(tmp_path)!r}, 0, 0)")
    assert _library_frames(text.replace(str(tmp_path), "")) == 0
    assert "MalformedRecordError" in text


def test_the_error_itself_is_unchanged(shell: Any) -> None:
    def parts(error: BaseException) -> tuple[object, ...]:
        return error.__cause__, error.__context__, error.__suppress_context__, error.__traceback__

    def fail() -> None:
        try:
            raise KeyError("cause")
        except KeyError as problem:
            raise ne.errors.InvalidRequestError("x") from problem

    with pytest.raises(ne.errors.InvalidRequestError) as caught:
        fail()
    before = parts(caught.value)
    caught.value._render_traceback_()
    assert parts(caught.value) == before


@pytest.mark.parametrize("how", ["%debug", "pdb.pm()", "%pdb"])
def test_the_debugger_begins_in_the_library(
    how: str, shell: Any, failing: Failing, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shell.InteractiveTB, "pdb", None)  # it holds the output of the first use
    code = "def own():\n    return ne.load_neuron('tinny', 2, 5)\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO("p short_name\nup\nup\nup\nup\nup\nq\n"))
    monkeypatch.setattr(shell, "call_pdb", how == "%pdb")
    text = failing(code + "own()")
    assert _library_frames(text) == 0
    if how == "%debug":
        shell.run_line_magic("debug", "")
    elif how == "pdb.pm()":
        debugger = pdb.Pdb(stdin=sys.stdin, stdout=sys.stdout)
        debugger.reset()
        debugger.interaction(None, sys.last_traceback)
    said = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    frames = re.findall(r"> (\S+)\(\d+\)(\w+)\(\)", said)
    assert frames[0][0].endswith("neuron_explainer/activation_server/neuron_datasets.py"), said
    assert "'tinny'" in said  # a variable of that frame
    functions = [function for _, function in frames]
    assert functions[-1] == "own", said
    assert functions[-2] == "load_neuron", said


def test_the_frames_are_a_call_away_and_for_the_debugger(shell: Any, failing: Failing) -> None:
    failing('ne.load_neuron("tinny", 2, 5)')
    entry, files = shell.InteractiveTB.tb, []
    while entry is not None:
        files.append(entry.tb_frame.f_code.co_filename)
        entry = entry.tb_next
    assert any("activation_server" in file for file in files)  # %debug begins here
    assert sys.last_traceback is not None
    text = failing('ne.errors.show_library_frames()\nne.load_neuron("tinny", 2, 5)')
    assert _library_frames(text) > 1
    assert HINT not in text
    text = failing('ne.errors.show_library_frames(False)\nne.load_neuron("tinny", 2, 5)')
    assert _library_frames(text) == 0


@pytest.mark.parametrize("mode", ["Plain", "Context", "Verbose", "Minimal"])
def test_every_mode_of_tracebacks(shell: Any, failing: Failing, mode: str) -> None:
    shell.run_line_magic("xmode", mode)
    text = failing('ne.load_neuron("tinny", 2, 5)')
    assert "raise " not in text  # a line of the library
    assert "tinny" in text
    assert (mode == "Minimal") or 'ne.load_neuron("tinny", 2, 5)' in text


def test_python_outside_of_ipython_shows_all_frames() -> None:
    code = "import neuron_explainer as ne\nne.load_neuron('tinny', 2, 5)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert _library_frames(ran.stderr) > 1
    assert HINT not in ran.stderr


def test_without_a_shell_it_is_pythons_own_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: None)
    with pytest.raises(ne.errors.InvalidRequestError) as caught:
        raise ne.errors.InvalidRequestError("x")
    assert caught.value._render_traceback_() == traceback.format_exception(caught.value)


def test_a_notebook_has_a_short_error() -> None:
    cells = ["import neuron_explainer as ne", 'ne.derive("And", ["mlp_post_actt"], "tiny")', "%tb"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, allow_errors=True, kernel_name="python3", timeout=120).execute()
    for cell in notebook.cells[1:]:
        (error,) = (output for output in cell.outputs if output.output_type == "error")
        text = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error.traceback))
        assert _library_frames(text) == 0
        assert "mlp_post_actt" in text
        assert HINT in text
