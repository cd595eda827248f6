"""The public names as type checkers see them: used correctly, used wrongly, and none of them Any."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

import neuron_explainer as ne
from helpers.paths import REPOSITORY

CASES = Path(__file__).parent / "typing_cases"
CORRECT, MISTAKES = CASES / "every_public_name.py", CASES / "mistakes.py"
REVEALED = ("derive", "derive_batch", "collate", "load_model", "load_neuron", "load_autoencoder", "NeuronViewer")
# No public signature names a type of these large packages; without them mypy takes half the time.
CONFIG = """
[mypy]
strict = true
follow_imports = silent
[mypy-transformers.*,huggingface_hub.*,ray.*,IPython.*,ipywidgets.*,traitlets.*]
follow_imports = skip
"""

Found = tuple[str, int, str, str]
"""A line of mypy's output: file name, line number, "error" or "note", text."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    """What strict mypy says of the two files, and of one that reveals the types of the main functions."""
    folder = tmp_path_factory.mktemp("typing")
    (folder / "mypy.ini").write_text(CONFIG)
    revealed = "".join(f"reveal_type(ne.{name})\n" for name in REVEALED)
    (folder / "revealed.py").write_text("import neuron_explainer as ne\n" + revealed)
    command = [sys.executable, "-m", "mypy", "--no-pretty", "--hide-error-context", "--no-error-summary"]
    command += ["--cache-dir", str(REPOSITORY / ".mypy_cache" / "typing_cases")]
    result = subprocess.run(
        [*command, str(CORRECT), str(MISTAKES), "revealed.py"],
        cwd=folder,
        env={"MYPYPATH": str(REPOSITORY), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert result.returncode in (0, 1), result.stdout + result.stderr
    lines = re.findall(r"^(.+?):(\d+): (error|note): (.*)$", result.stdout, re.MULTILINE)
    return [(Path(file).name, int(line), kind, text) for file, line, kind, text in lines]


def errors_in(found: Iterable[Found], file: Path) -> dict[int, set[str]]:
    """The codes of the errors in a file, by line."""
    errors: dict[int, set[str]] = {}
    for name, line, kind, text in found:
        if name == file.name and kind == "error":
            errors.setdefault(line, set()).add(text.rpartition("[")[2].rstrip("]"))
    return errors


def test_every_public_name_is_used() -> None:
    tree = ast.parse(CORRECT.read_text())
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ne"
    }
    missing = sorted(set(ne.__all__) - used)
    assert not missing, f"{CORRECT.relative_to(REPOSITORY)} does not use {', '.join(missing)}. Add a line for each."


def test_correct_use_has_no_complaint(found: list[Found]) -> None:
    assert [line for line in found if line[0] == CORRECT.name] == []


def test_each_mistake_is_found_and_nothing_else(found: list[Found]) -> None:
    lines = enumerate(MISTAKES.read_text().splitlines(), start=1)
    expected: Mapping[int, set[str]] = {
        number: set(map(str.strip, line.split("# E:")[1].split(","))) for number, line in lines if "# E:" in line
    }
    assert len(expected) > 20
    assert errors_in(found, MISTAKES) == expected


def test_the_main_functions_have_types(found: list[Found]) -> None:
    types = {
        REVEALED[line - 2]: text.removeprefix("Revealed type is ").strip('"')
        for name, line, _, text in found
        if name == "revealed.py"
    }
    assert list(types) == list(REVEALED)
    for name, revealed in types.items():
        assert revealed.startswith("def ("), name
        assert not revealed.endswith(" -> Any"), name
