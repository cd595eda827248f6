"""The committed notebooks as pages, and a gallery of them. They are not run again.

A figure that has no static HTML is drawn by plotly's script, which comes from the installed plotly and lies beside the
pages.
"""

import json
from pathlib import Path
from typing import Any

import plotly.io
from generated_files import write_pages
from plotly.offline import get_plotlyjs

PLOTLY = "application/vnd.plotly.v1+json"
NOTEBOOKS = Path(__file__).resolve().parent.parent.parent / "notebooks"
# In the order in which to read them; a notebook that is not named here comes last.
READING_ORDER = [
    "explore_neurons",
    "explore_smollm2",
    "one_neuron",
    "look_inside_a_model",
    "why_this_token",
    "patching",
    "lenses_and_steering",
    "derive_scalars",
    "make_a_dataset",
]


def _order(path: Path) -> tuple[int, str]:
    return (READING_ORDER.index(path.stem) if path.stem in READING_ORDER else len(READING_ORDER), path.stem)


def _title_and_introduction(notebook: dict[str, Any]) -> tuple[str, str]:
    title, introduction = "".join(notebook["cells"][0]["source"]).split("\n\n", 1)
    return title.removeprefix("# "), introduction


def gallery(notebooks: dict[str, dict[str, Any]]) -> str:
    """Write the gallery: a card with title and introduction for each notebook."""
    cards = []
    for name, notebook in notebooks.items():
        title, introduction = _title_and_introduction(notebook)
        cards.append(f":::{{grid-item-card}} {title}\n:link: {name}\n:link-type: doc\n\n{introduction}\n:::\n")
    pages = "\n".join(notebooks)
    return (
        "# Notebooks\n\nEach page is a committed notebook with its output. `make explore` opens them in JupyterLab.\n\n"
        "::::{grid} 1 1 2 2\n:gutter: 3\n\n" + "\n".join(cards) + "::::\n\n"
        f"```{{toctree}}\n:hidden:\n\n{pages}\n```\n"
    )


def with_drawn_figures(notebook: dict[str, Any]) -> dict[str, Any]:
    """Give every plotly figure without HTML some HTML that draws it."""
    for cell in notebook["cells"]:
        for number, output in enumerate(cell.get("outputs", ())):
            data = output.get("data", {})
            if PLOTLY in data and "text/html" not in data:
                figure = {name: data[PLOTLY][name] for name in ("data", "layout")}
                data["text/html"] = plotly.io.to_html(
                    figure,
                    include_plotlyjs="../../_static/plotly.min.js",
                    full_html=False,
                    div_id=f"figure-{cell['id']}-{number}",
                    validate=False,
                )
    return notebook


def _write(app: Any, config: Any) -> None:
    paths = sorted(NOTEBOOKS.glob("*.ipynb"), key=_order)
    notebooks = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    pages = {f"{name}.ipynb": json.dumps(with_drawn_figures(notebook)) for name, notebook in notebooks.items()}
    write_pages("notebooks", {"index.md": gallery(notebooks), **pages})
    write_pages("static", {"plotly.min.js": get_plotlyjs()})


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("config-inited", _write)
    return {"parallel_read_safe": True}
