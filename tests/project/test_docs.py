"""The documents: they describe the package as it is, their examples run, and their links lead somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import neuron_explainer as ne
from helpers.paths import REPOSITORY

DOCS = REPOSITORY / "docs"
sys.path.insert(0, str(DOCS / "_extensions"))

from api_pages import families, mark_lists_and_examples  # noqa: E402
from repository_links import included_files, rewrite_links  # noqa: E402

ARCHITECTURE = (DOCS / "architecture.md").read_text()
PAGES = sorted([*REPOSITORY.glob("*.md"), *DOCS.glob("*.md")])


def _folders_of_the_package() -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", "neuron_explainer"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    files = [Path(line) for line in listed.stdout.splitlines()]
    return {parent.as_posix() for file in files for parent in file.parents} - {"."}


def _folders_of_the_tree() -> set[str]:
    """The package's folders in architecture.md's tree, by their indentation."""
    found: set[str] = set()
    above: list[str] = []
    for line in ARCHITECTURE.split("```text\n")[1].split("```")[0].splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        if name.endswith("/"):
            above[depth:] = [name.rstrip("/")]
            found.add("/".join(above))
    return {path for path in found if path.startswith("neuron_explainer")}


@pytest.mark.skipif(not (REPOSITORY / ".git").exists(), reason="asks git which folders the package has")
def test_the_tree_of_the_architecture_names_every_folder() -> None:
    assert _folders_of_the_tree() == _folders_of_the_package()


def test_the_guide_lists_every_make_target() -> None:
    targets = re.search(r"^\.PHONY: (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert targets
    documented = re.findall(r"^\| `make ([\w-]+)` \|", (REPOSITORY / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert set(targets[1].split()) <= {*documented, "clean"}


def test_the_walks_name_files_that_exist() -> None:
    walks = ARCHITECTURE.split("## Three walks")[1].split("\n## ")[0]
    named = re.findall(r"`([\w/]+\.py)`", walks)
    files = [path.as_posix() for path in (REPOSITORY / "neuron_explainer").rglob("*.py")]
    assert len(named) > 20
    assert not [name for name in named if not any(file.endswith(f"/{name}") for file in files)]


def test_the_reference_has_every_public_name_once() -> None:
    documented = [name for family in families() for name in family.names]
    assert sorted(documented) == sorted(set(ne.__all__) - {"__version__", "errors", "notices"})


def test_a_name_in_the_stub_is_documented_by_its_family(tmp_path: Path) -> None:
    stub = tmp_path / "__init__.pyi"
    stub.write_text(
        "# About the file.\n\nfrom . import errors\n\n# Things: made here\nfrom .a import (\n    b,\n    c,\n)\n"
    )
    (family,) = families(stub)
    assert (family.title, family.page, family.names) == ("Things", "things", ["b", "c"])


def test_lists_and_examples_in_docstrings_are_marked() -> None:
    lines = ["Args:", "    source: one of", "        - a name;", "          or two", "        - a path"]
    mark_lists_and_examples(lines)
    assert lines == ["Args:", "    source: one of", "", "        - a name;", "          or two", "        - a path"]
    lines = ["An example:", "", "    f(", "        1", "    )", "", "The end."]
    mark_lists_and_examples(lines)
    assert lines == ["An example:", "", "::", "", "    f(", "        1", "    )", "", "The end."]


@pytest.mark.parametrize(
    "page",
    [
        "adding_a_view.md",
        "adding_a_widget.md",
        "attention.md",
        "attribution.md",
        "attribution_viewer.md",
        "autoencoders.md",
        "chats.md",
        "explanations.md",
        "lenses.md",
        "patching.md",
        "path_patching.md",
        "pickers.md",
        "prompt_pairs.md",
        "steering.md",
    ],
)
def test_the_example_of_a_guide_runs(page: str, tmp_path: Path) -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL))
    assert code
    finished = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "NEURON_EXPLAINER_NOTES": str(tmp_path / "notes")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    assert not [target for target in targets if "://" not in target and not (page.parent / target).exists()]


def test_links_between_files_become_links_between_pages() -> None:
    text = "[a](docs/install.md#conda) [b](CHANGELOG.md) [n](notebooks/x.ipynb) [c](setup.cfg) [w](https://host/x.md)"
    rewritten = rewrite_links(text, REPOSITORY / "README.md", DOCS)
    assert "[a](install.md#conda) [b](changelog.md)" in rewritten
    assert "c (`setup.cfg`) [w](https://host/x.md)" in rewritten
    assert REPOSITORY / "CHANGELOG.md" in included_files()


def test_the_citation_has_the_version_and_the_licence() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["version"] == ne.__version__
    assert citation["license"] == "MIT"
    assert (REPOSITORY / "LICENSE").read_text().startswith("MIT License")


def test_the_hooks_download_nothing() -> None:
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())
    assert {repository["repo"] for repository in hooks["repos"]} == {"local"}
    finished = subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-config", ".pre-commit-config.yaml"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
