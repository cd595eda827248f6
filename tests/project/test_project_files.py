"""The project's own files: two lists of dependencies that agree, imports that go downward, no network at import."""

import ast
import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from helpers.paths import REPOSITORY

ROOT = REPOSITORY
PACKAGE = ROOT / "neuron_explainer"

# From the top to the bottom of the house: a room may import those after it.
ROOMS = ["widgets", "views", "collate", "activation_server", "activations", "models", "storage"]
DISPLAY_PACKAGES = {"ipywidgets", "plotly", "IPython", "anywidget"}
CONDA_NAME = {"torch": "pytorch"}


def requirement_lines(text: str) -> dict[str, str]:
    """Name → version bound of each requirement line; lines that refer to other extras are left out."""
    found = {}
    for line in text.strip().splitlines():
        match = re.fullmatch(r"([A-Za-z0-9_.-]+)\s*(>=\S+)?", line.strip())
        if match:
            found[match[1].lower()] = match[2] or ""
    return found


def test_environment_yml_names_the_dependencies_of_setup_cfg() -> None:
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    expected = requirement_lines(setup["options"]["install_requires"])
    expected |= requirement_lines(setup["options.extras_require"]["notebook"])
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = requirement_lines("\n".join(line for line in environment["dependencies"] if isinstance(line, str)))
    assert conda.pop("python") == setup["options"]["python_requires"]
    conda.pop("pip")
    assert conda == {CONDA_NAME.get(name, name): bound for name, bound in expected.items()}


def test_no_dependency_has_an_upper_cap() -> None:
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    requirements = setup["options"]["install_requires"] + "".join(setup["options.extras_require"].values())
    assert not re.search(r"<|==|~=", requirements)


def imported_modules(path: Path) -> list[tuple[str, bool]]:
    """Every module that a file imports, with whether the import stands at the module's top level."""
    tree = ast.parse(path.read_text())
    only_for_types = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    inside_functions = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    found = []
    for node in ast.walk(tree):
        if node in only_for_types:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, node not in inside_functions) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.append((node.module, node not in inside_functions))
    return found


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "neuron_explainer" and len(parts) > 1 and parts[1] in ROOMS else None


def modules_of_the_package() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_rooms_import_downward_only() -> None:
    wrong = []
    for path in modules_of_the_package():
        room = path.relative_to(PACKAGE).parts[0]
        if room not in ROOMS:
            continue
        for module, at_top_level in imported_modules(path):
            target = room_of(module)
            if target is None or ROOMS.index(target) >= ROOMS.index(room):
                continue
            # A `_repr_html_` or a `plot` asks its view when it is itself asked; nothing else may look up.
            if target == "views" and not at_top_level:
                continue
            # The viewer's own records come from collate through a function's import alone.
            wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert not wrong


def test_display_packages_stay_in_views_and_widgets() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in modules_of_the_package()
        if path.relative_to(PACKAGE).parts[0] not in ("views", "widgets")
        for module, _ in imported_modules(path)
        if module.split(".")[0] in DISPLAY_PACKAGES
    ]
    assert not wrong


def test_modules_stay_readable() -> None:
    assert not [path for path in modules_of_the_package() if len(path.read_text().splitlines()) > 400]


@pytest.mark.parametrize(
    "code",
    [
        "import neuron_explainer as ne; ne.datasets()",
        "import neuron_explainer as ne; record = ne.load_neuron('tiny', 2, 5); record._repr_html_()",
        "import neuron_explainer as ne; viewer = ne.NeuronViewer('tiny', 2, 5); assert viewer.record is not None",
        "from neuron_explainer.vocabulary.places import NodeType",
        "from neuron_explainer.activations.derived_scalars import DerivedScalarType",
    ],
)
def test_looking_imports_no_torch(code: str) -> None:
    check = f"{code}\nimport sys\nassert 'torch' not in sys.modules, 'torch was imported'"
    finished = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=ROOT.parent)
    assert finished.returncode == 0, finished.stderr
