"""Fixtures of the browser tests. Run them in their own pytest process: `pytest tests/browser`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Browser, Page

from helpers.lab_in_chromium import JupyterServer, NotebookPage, chromium, chromium_path, jupyter_server, open_in_lab
from helpers.module_harness import ModuleHarness


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--viewer-picture", type=Path, help="write the picture of the viewer that the README shows here")
    parser.addoption(
        "--page-picture", type=Path, help="write the picture of an answer's page that the README shows here"
    )
    parser.addoption("--screenshots", type=Path, help="keep a screenshot of every page, as its test leaves it, here")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if chromium_path() is None:
        pytest.skip("Chromium is not installed; `make test` installs it if it can use apt as root")
    with chromium() as started:
        yield started


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[JupyterServer]:
    with jupyter_server(tmp_path_factory.mktemp("jupyter")) as started:
        yield started


@pytest.fixture
def open_notebook(
    browser: Browser, server: JupyterServer, request: pytest.FixtureRequest
) -> Iterator[Callable[..., NotebookPage]]:
    """`open_notebook(path, with_kernel=True)` → NotebookPage. At the end, no page may have used the network."""
    opened: list[NotebookPage] = []

    def open_one(notebook: Path, **options: Any) -> NotebookPage:
        opened.append(open_in_lab(browser, server, notebook, **options))
        return opened[-1]

    yield open_one
    folder = request.config.getoption("--screenshots")
    for number, page in enumerate(opened):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            page.screenshot(folder / f"{request.node.name}-{number}.png")
        page.close()
    server.stop_kernels()
    assert [page.refused for page in opened] == [[] for _ in opened]


@pytest.fixture
def run_notebook(open_notebook: Callable[..., NotebookPage]) -> Callable[..., NotebookPage]:
    """`run_notebook(path)` → NotebookPage whose cells have all run."""

    def run(notebook: Path, **options: Any) -> NotebookPage:
        opened = open_notebook(notebook, **options)
        opened.run_all()
        return opened

    return run


def _change_theme(opened: NotebookPage, theme: str, *, is_light: bool) -> None:
    code = "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})"
    opened.page.evaluate(code, theme)
    opened.page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=str(is_light).lower())
    opened.page.locator("#jupyterlab-splash").wait_for(state="detached")  # it covers the page meanwhile


@pytest.fixture
def in_dark_theme() -> Iterator[Callable[[NotebookPage], None]]:
    """`in_dark_theme(opened)` changes JupyterLab's theme, and waits until it has changed.

    At the end the theme is light again, since the server keeps it for the next page.
    """
    changed: list[NotebookPage] = []

    def change(opened: NotebookPage) -> None:
        changed.append(opened)
        _change_theme(opened, "JupyterLab Dark", is_light=False)

    yield change
    for opened in changed:
        _change_theme(opened, "JupyterLab Light", is_light=True)


@pytest.fixture
def write_notebook(tmp_path: Path) -> Callable[..., Path]:
    """`write_notebook(name, *cells)` → the path of a notebook of these code cells."""

    def write(name: str, *cells: str) -> Path:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
        path = tmp_path / f"{name}.ipynb"
        nbformat.write(notebook, path)
        return path

    return write


@pytest.fixture(scope="module")
def module_page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture
def open_module(module_page: Page) -> Iterator[Callable[..., ModuleHarness]]:
    """`open_module(name, traits, …)` → ModuleHarness. At the end, it may not have used the network, nor failed."""
    opened: list[ModuleHarness] = []

    def open_one(name: str, traits: dict[str, Any], **options: Any) -> ModuleHarness:
        opened.append(ModuleHarness(module_page, name, traits, **options))
        return opened[-1]

    yield open_one
    for harness in opened:
        harness.end()
