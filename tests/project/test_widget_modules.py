"""The bundled frontend modules are what their sources in `tools/widget_modules` give."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.paths import REPOSITORY
from neuron_explainer.widgets.modules.module_widget import STATIC

PROJECT = REPOSITORY / "tools" / "widget_modules"
BUNDLES = ["node_rows.js", "page.js"]
# The environment's own tools first: `make test` installs Node.js there.
SEARCHED = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def sources_hash() -> str:
    """As `build.mjs` computes it."""
    sources = [path.relative_to(PROJECT).as_posix() for path in (PROJECT / "src").rglob("*.ts")]
    found = hashlib.sha256()
    for name in sorted([*sources, "build.mjs", "package-lock.json", "package.json"]):
        content = (PROJECT / name).read_bytes()
        found.update(f"{name}\0{len(content)}\0".encode() + content)
    return found.hexdigest()


@pytest.mark.parametrize("bundle", BUNDLES)
def test_a_bundle_was_made_of_these_sources(bundle: str) -> None:
    text = (STATIC / bundle).read_text(encoding="utf-8")
    stated = re.search(r"^sources sha256 (\w+)$", text, re.MULTILINE)
    assert stated is not None
    assert stated[1] == sources_hash(), "run `npm run build` in tools/widget_modules"


@pytest.mark.parametrize("bundle", BUNDLES)
def test_a_bundle_has_the_licences_of_what_it_contains_and_asks_for_nothing(bundle: str) -> None:
    text = (STATIC / bundle).read_text(encoding="utf-8")
    header, code = text.split("*/", 1)
    assert "It contains lit-html" in header
    assert "Redistributions of source code must retain the above copyright notice" in header
    if bundle == "node_rows.js":
        assert "It contains @tanstack/virtual-core" in header
    assert not re.search(r"\bimport\b|\bfetch\(|XMLHttpRequest|\beval\(|new Function", code)
    addresses = set(re.findall(r"https?://[^\s\"'`)]+", code))
    assert {each for each in addresses if not each.startswith("http://www.w3.org/")} == set()


def test_the_folder_holds_nothing_else() -> None:
    assert sorted(path.name for path in STATIC.iterdir()) == BUNDLES


def test_the_lock_file_names_no_registry_and_every_checksum() -> None:
    lock = json.loads((PROJECT / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert len(packages) > 5
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert [name for name, package in packages.items() if not package["integrity"].startswith("sha512-")] == []


@pytest.mark.skipif(
    not (PROJECT / "node_modules").is_dir() or shutil.which("npm", path=SEARCHED) is None,
    reason="`npm ci` has not run in tools/widget_modules; `make test` does it",
)
def test_the_modules_types_tests_and_bundles() -> None:
    """The bundles are made anew and compared byte for byte; nothing is written."""
    npm = shutil.which("npm", path=SEARCHED)
    assert npm is not None
    finished = subprocess.run(
        [npm, "test"], cwd=PROJECT, env={**os.environ, "PATH": SEARCHED}, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
