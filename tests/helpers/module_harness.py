"""A page in Chromium with one frontend module and a model that has no kernel: Python's side is played by the test."""

from typing import Any

from playwright.sync_api import ConsoleMessage, Error, Page, Route

from neuron_explainer.views.colour import N_LEVELS, background_of_level
from neuron_explainer.views.theme.dark import dark_of_level
from neuron_explainer.widgets.modules.module_widget import STATIC

ADDRESS = "http://harness.invalid/"
_HTML = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>A module</title></head>
<body style="margin:16px;background:BACKGROUND"></body></html>"""

# What anywidget gives a module. `sent` and `saved` are what Python would get.
_START = """async ([source, traits, body]) => {
    document.body.innerHTML = body;
    const listeners = new Map();
    const tell = event => [...(listeners.get(event) ?? [])].forEach(call => call());
    const model = {
        get: name => traits[name],
        set: (name, value) => {
            if (JSON.stringify(traits[name]) === JSON.stringify(value)) return;
            traits[name] = value;
            tell(`change:${name}`);
        },
        save_changes: () => window.saved.push(structuredClone({...traits, table: null})),
        send: content => window.sent.push(content),
        on: (event, call) => listeners.set(event, [...(listeners.get(event) ?? []), call]),
        off: (event, call) => listeners.set(event, (listeners.get(event) ?? []).filter(each => each !== call)),
    };
    Object.assign(window, {model, sent: [], saved: [], listeners});
    const url = URL.createObjectURL(new Blob([source], {type: 'text/javascript'}));
    const module = await import(url);
    const el = document.createElement('div');
    window.remove = module.default.render({model, el});
    document.querySelector('#here').append(el);  // a front end attaches a view after it was rendered
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""


class ModuleHarness:
    """A module on a page, which is emptied before.

    Args:
        page: the page; it can reach nothing.
        module: the bundle's name: "node_rows" or "page".
        traits: the model's traits.
        body: the page's HTML; the module is put into the element with the id "here".
        width: of the window, in pixels.
        background: the page's colour.
    """

    def __init__(
        self,
        page: Page,
        module: str,
        traits: dict[str, Any],
        body: str = '<div id="here"></div>',
        width: int = 1300,
        background: str = "#ffffff",
    ) -> None:
        self.page = page
        self.refused: list[str] = []
        self.errors: list[str] = []
        self._background = background
        page.route("**/*", self._answer)
        page.on("console", self._listen)
        page.on("pageerror", self._fail)
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(ADDRESS)
        source = (STATIC / f"{module}.js").read_text(encoding="utf-8")
        page.evaluate(_START, [source, {"taken": 0, **traits}, body])

    def _answer(self, route: Route) -> None:
        if route.request.url == ADDRESS:
            route.fulfill(body=_HTML.replace("BACKGROUND", self._background), content_type="text/html")
        else:
            self.refused.append(route.request.url)
            route.abort()

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def _fail(self, error: Error) -> None:
        self.errors.append(str(error))

    def set(self, **traits: Any) -> None:
        """Set traits as Python does."""
        self.page.evaluate(
            "traits => Object.entries(traits).forEach(([name, value]) => model.set(name, value))", traits
        )

    def get(self, trait: str) -> Any:
        """A trait's present value."""
        return self.page.evaluate("name => model.get(name)", trait)

    @property
    def sent(self) -> list[dict[str, Any]]:
        """The messages so far, without their numbers."""
        messages: list[dict[str, Any]] = self.page.evaluate("() => window.sent")
        return [{name: value for name, value in each.items() if name != "number"} for each in messages]

    def take(self) -> None:
        """Take all messages, as a kernel does that is free."""
        self.page.evaluate("() => model.set('taken', Math.max(...window.sent.map(each => each.number)))")

    def end(self) -> None:
        """Leave the page. The module must not have used the network, nor failed."""
        self.page.unroute_all()
        self.page.remove_listener("console", self._listen)
        self.page.remove_listener("pageerror", self._fail)
        assert (self.refused, self.errors) == ([], [])


def table_of(tokens: list[str], n_rows: int) -> dict[str, Any]:
    """A table as `rows_of` gives it: names, tokens that repeat, positions, and effects that fall in magnitude."""
    columns = [
        {"name": "name", "label": "name", "kind": "name"},
        {"name": "token", "label": "token", "kind": "token"},
        {"name": "position", "label": "position", "kind": "number"},
        {"name": "activation", "label": "activation", "kind": "number"},
        {"name": "direct_effect", "label": "direct effect", "kind": "effect"},
        {"name": "total_effect", "label": "total effect", "kind": "effect"},
    ]
    rows = []
    for number in range(n_rows):
        position = number % len(tokens)
        effect = (-1) ** number * (n_rows - number) / n_rows
        direct = None if number % 7 == 3 else round(effect / 3, 6)
        name = f"L{number % 24}H{number % 9}@{position}"
        rows.append([f"{name}<-{number // 9}", tokens[position], position, round(number / 7, 6), direct, effect])
    palette = [background_of_level(level) for level in range(-N_LEVELS, N_LEVELS + 1)]
    return {
        "columns": columns,
        "rows": rows,
        "palette": palette,
        "dark_palette": [dark_of_level(level) for level in range(-N_LEVELS, N_LEVELS + 1)],
        "limit": {"direct_effect": 1.0, "total_effect": 1.0},
    }
