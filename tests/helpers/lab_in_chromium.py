"""JupyterLab in a real browser: its own server, notebooks run by menu and keyboard, no network except the server."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import nbformat
from playwright.sync_api import Browser, ConsoleMessage, FloatRect, Locator, Page, Route, sync_playwright

TOKEN = "for-these-tests-alone"
_CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
]
_NOBODY_LISTENS = "http://127.0.0.1:9"  # so that a kernel that uses the network is refused immediately


def chromium_path() -> str | None:
    """The path of Chromium; None if it is not installed."""
    return next((path for name in _CHROMIUM_NAMES if (path := shutil.which(name))), None)


@dataclass
class JupyterServer:
    """A running server."""

    root: Path
    url: str

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Call the server's REST API, and return its answer."""
        request = urllib.request.Request(
            f"{self.url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {TOKEN}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def start_kernel(self, name: str) -> None:
        """Start the session of a notebook, so that the page finds a running kernel."""
        session = {"path": name, "name": name, "type": "notebook", "kernel": {"name": "python3"}}
        self.request("POST", "/api/sessions", session)

    def stop_kernels(self) -> None:
        """End every session."""
        for session in self.request("GET", "/api/sessions"):
            self.request("DELETE", f"/api/sessions/{session['id']}")


@contextlib.contextmanager
def jupyter_server(folder: Path) -> Iterator[JupyterServer]:
    """Context manager: a server that keeps its settings, notebooks and kernels in `folder`."""
    root = folder / "notebooks"
    root.mkdir(parents=True)
    environment = dict(os.environ)
    for variable in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        environment[variable] = str(folder / variable.lower())
    for variable in ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR"):
        environment[variable] = str(folder / variable.lower())
    environment["NEURON_EXPLAINER_CACHE"] = str(folder / "cache")
    for variable in ("http_proxy", "https_proxy", "all_proxy"):
        environment[variable] = environment[variable.upper()] = _NOBODY_LISTENS
    environment["no_proxy"] = environment["NO_PROXY"] = "127.0.0.1,localhost"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root"]
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.root_dir": root,
        "IdentityProvider.token": TOKEN,
        "LabApp.expose_app_in_browser": True,
        "LabApp.extension_manager": "readonly",
    }
    # Whether to fetch news is a question that covers a corner of the page
    notifications = folder / "jupyterlab_settings_dir/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    notifications.parent.mkdir(parents=True)
    notifications.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *(f"--{name}={value}" for name, value in options.items())],
            env=environment,
            cwd=root,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = JupyterServer(root, f"http://127.0.0.1:{port}")
    try:
        _wait_until_up(server, process, log)
        yield server
    finally:
        with contextlib.suppress(OSError):
            server.stop_kernels()
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_up(server: JupyterServer, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            server.request("GET", "/api/status")
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text(errors='replace')[-4000:]}")


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Context manager: Chromium, run by playwright."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=_CHROMIUM_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class NotebookPage:
    """A notebook open in JupyterLab, or a file in a bare page.

    Attributes:
        page: playwright's page.
        name: the notebook's file name.
        server: where it is open.
        refused: the addresses that the page asked for beside the server; they got no answer.
        console_errors: what the page's console reported as errors.
    """

    page: Page
    name: str
    server: JupyterServer
    refused: list[str] = field(default_factory=list)
    console_errors: list[str] = field(default_factory=list)

    @property
    def panel(self) -> Locator:
        """The notebook's part of the page."""
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    def outputs(self) -> Locator:
        """The cells' outputs."""
        return self.panel.locator(".jp-OutputArea-output")

    def run_all(self, timeout: float = 300.0) -> None:
        """Menu Run → Run All Cells, and wait until the kernel is idle and every code cell has run.

        Raises:
            AssertionError: a cell failed, or they did not end in `timeout` seconds.
        """
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        deadline = time.monotonic() + timeout
        while not (state := self._state())["ran"]:
            assert time.monotonic() < deadline, f"{self.name} did not end: {state}"
            self.page.wait_for_timeout(100)
        assert not state["errors"], f"{self.name}: {state['errors']}"

    def _state(self) -> dict[str, Any]:
        return self.page.evaluate(
            """() => {
                const panel = window.jupyterapp.shell.currentWidget;
                const cells = panel.content.widgets.map(w => w.model).filter(
                    m => m.type === 'code' && m.sharedModel.source.trim());
                const outputs = cells.flatMap(m => m.outputs.toJSON());
                const kernel = panel.sessionContext.session?.kernel;
                return {
                    ran: kernel?.status === 'idle' && cells.every(m => m.executionCount),
                    kernel: kernel?.status, counts: cells.map(m => m.executionCount),
                    errors: outputs.filter(o => o.output_type === 'error').map(o => o.ename + ': ' + o.evalue),
                };
            }"""
        )

    def save(self) -> nbformat.NotebookNode:
        """Save the notebook by the menu, and return what was saved."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")
        return nbformat.read(self.server.root / self.name, as_version=4)

    def screenshot(self, path: Path) -> None:
        """A picture of the page, PNG."""
        self.page.screenshot(path=path)

    def picture(self, path: Path, part: Locator, until: Locator | None = None, margin: int = 7) -> None:
        """A picture of a part of the page with a margin around it, PNG; down to where another part begins."""
        box = part.bounding_box()
        end = None if until is None else until.bounding_box()
        if box is None or (until is not None and end is None):
            raise AssertionError("A part of the picture is not on view.")
        height = box["height"] + margin if end is None else end["y"] - box["y"]
        clip: FloatRect = {
            "x": box["x"] - margin,
            "y": box["y"] - margin,
            "width": box["width"] + 2 * margin,
            "height": height + margin,
        }
        self.page.mouse.move(0, 0)
        self.page.screenshot(path=path, clip=clip)

    def flag(self, name: str = "pwned") -> Any:
        """The variable that a hostile script would have set on the window; None if none ran."""
        return self.page.evaluate(f"() => window.{name} ?? null")

    def close(self) -> None:
        """Close the page."""
        self.page.context.close()


def new_page(browser: Browser, server: JupyterServer, name: str, height: int = 1800) -> NotebookPage:
    """An empty page that can reach only the server, and lists all other requests."""
    context = browser.new_context(viewport={"width": 1300, "height": height})
    opened = NotebookPage(context.new_page(), name, server)
    allowed = urlsplit(server.url).netloc

    def route(asked: Route) -> None:
        address = urlsplit(asked.request.url)
        if address.netloc == allowed or address.scheme in ("data", "blob", "file"):
            asked.continue_()
        else:
            opened.refused.append(asked.request.url)
            asked.abort()

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error":
            opened.console_errors.append(message.text)

    context.route("**/*", route)
    opened.page.on("console", listen)
    return opened


def open_in_lab(
    browser: Browser, server: JupyterServer, notebook: Path, *, with_kernel: bool = True, height: int = 1800
) -> NotebookPage:
    """Copy a notebook to the server, open it in a workspace of its own, and wait until it can be used."""
    target = server.root / notebook.name
    if notebook != target:
        shutil.copyfile(notebook, target)
    if with_kernel:
        server.start_kernel(notebook.name)
    opened = new_page(browser, server, notebook.name, height)
    workspace = quote(f"{notebook.stem}-{time.monotonic_ns()}")
    opened.page.goto(f"{server.url}/lab/workspaces/{workspace}/tree/{quote(notebook.name)}?token={TOKEN}")
    opened.page.wait_for_function("() => window.jupyterapp", timeout=60_000)
    opened.page.evaluate(
        """async ([name, withKernel]) => {
            const app = window.jupyterapp;
            await app.restored;
            let panel;
            while (!(panel = [...app.shell.widgets('main')].find(w => w.context?.path === name)))
                await new Promise(done => setTimeout(done, 50));
            await panel.context.ready;
            if (withKernel) {
                await panel.sessionContext.ready;
                await panel.sessionContext.session.kernel.info;
            }
            app.shell.activateById(panel.id);
        }""",
        [notebook.name, with_kernel],
    )
    return opened
