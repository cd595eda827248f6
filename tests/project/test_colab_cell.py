"""The set-up cell for Colab, run as on Colab against a wheel of this project; no index is at hand."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from importlib.metadata import files, version
from pathlib import Path

import pytest

from helpers.paths import REPOSITORY

CELL = (REPOSITORY / "tools" / "notebook_sources" / "_colab_cell.py").read_text(encoding="utf-8")
LEFT_ALONE = ("torch", "numpy", "pandas")
# Whatever is imported must not be this checkout, nor its editable installation
_OURS = re.compile(r"neuron_explainer|__editable__.*neuron|_virtualenv")

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built of a copy, so that nothing is written into this checkout."""
    source, output = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__", "*.partial")
    shutil.copytree(REPOSITORY / "neuron_explainer", source / "neuron_explainer", ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source / name)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(output), str(source)]
    finished = subprocess.run(build, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    (built,) = output.iterdir()
    return built


@pytest.fixture
def colab(tmp_path: Path) -> Run:
    """Runs code as Colab would: with its environment variable, in an environment that has all but this project.

    What is installed here is seen there by links, so that it costs nothing and nothing is fetched.
    """
    environment = tmp_path / "colab"
    venv.create(environment, with_pip=False)
    (own_packages,) = environment.glob("lib/python*/site-packages")
    links = tmp_path / "installed"
    links.mkdir()
    for folder in (Path(path) for path in sys.path if path.endswith("-packages")):
        for entry in folder.iterdir():
            if not _OURS.search(entry.name) and not (links / entry.name).exists():
                (links / entry.name).symlink_to(entry)
    (own_packages / "installed.pth").write_text(f"{links}\n")

    def run(code: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COLAB", "PIP_"))}
        return subprocess.run(
            [environment / "bin" / "python", "-c", code],
            cwd=tmp_path,
            env=kept | {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"} | variables,
            capture_output=True,
            text=True,
        )

    return run


def _with_address(address: Path | str) -> str:
    code, replaced = re.subn(r'^INSTALL_FROM = ""', f"INSTALL_FROM = {str(address)!r}", CELL, flags=re.MULTILINE)
    assert replaced == 1  # one variable, empty as committed
    return code


def _files_of(names: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """Size and time of every file of these packages, as they are installed here."""
    found = {}
    for name in names:
        for file in files(name) or ():
            path = Path(str(file.locate()))
            if path.is_file() and path.suffix != ".pyc":
                found[str(path)] = (path.stat().st_size, path.stat().st_mtime_ns)
    assert len(found) > 1000
    return found


def test_the_wheel_has_the_frontend_modules(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    folder = "neuron_explainer/widgets/modules/static"
    assert {f"{folder}/node_rows.js", f"{folder}/page.js"} <= set(names)


def test_on_colab_the_cell_installs_the_wheel_and_leaves_the_rest_alone(wheel: Path, colab: Run) -> None:
    before = _files_of(LEFT_ALONE)
    tell = (
        "import importlib.metadata as m, json, pathlib, sys\n"
        "import neuron_explainer as ne\n"
        f"names = {LEFT_ALONE!r}\n"
        "own = next(pathlib.Path(p) for p in sys.path if p.endswith('site-packages') and 'colab' in p)\n"
        "print(json.dumps({'file': ne.__file__, 'versions': {n: m.version(n) for n in names},\n"
        "    'own': sorted(p.name for p in own.iterdir()), 'torch': 'torch' in sys.modules,\n"
        "    'datasets': len(ne.datasets()),\n"
        "    'largest': ne.load_neuron('tiny', 1, 216).max_activation,\n"
        "    'weights': sum(1 for _ in (pathlib.Path(ne.__file__).parent / 'data').rglob('*.safetensors'))}))\n"
    )
    finished = colab(_with_address(wheel) + "\n" + tell, COLAB_RELEASE_TAG="release-colab")
    assert finished.returncode == 0, finished.stderr
    told = json.loads(finished.stdout.splitlines()[-1])
    assert "colab/lib" in told["file"]
    assert told["versions"] == {name: version(name) for name in LEFT_ALONE}
    assert told["datasets"] >= 10
    # the embedded model and its datasets came along: one file of weights, and four layers of each dataset
    assert told["largest"] > 1
    assert told["weights"] == 1 + 4 + 4
    assert not told["torch"]
    assert [
        name for name in told["own"] if name.split("-")[0] not in ("neuron_explainer", "neuron_explainer_jupyter")
    ] == ["installed.pth"]
    assert _files_of(LEFT_ALONE) == before


def test_on_colab_without_an_address_the_cell_says_what_to_do(colab: Run) -> None:
    finished = colab(CELL, COLAB_RELEASE_TAG="release-colab")
    assert finished.returncode != 0
    assert "INSTALL_FROM is empty" in finished.stderr
    assert "python -m build --wheel" in finished.stderr


def test_on_colab_a_failed_installation_is_told(colab: Run, tmp_path: Path) -> None:
    finished = colab(_with_address(tmp_path / "absent-1.0-py3-none-any.whl"), COLAB_RELEASE_TAG="release-colab")
    assert finished.returncode != 0
    assert "Installing" in finished.stderr
    assert "absent-1.0" in finished.stderr


def test_elsewhere_the_cell_does_nothing(colab: Run, tmp_path: Path) -> None:
    finished = colab(_with_address(tmp_path / "absent-1.0-py3-none-any.whl"))
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")
    assert "pip install neuron-explainer" not in CELL
