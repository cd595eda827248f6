"""The committed notebooks in JupyterLab: each without a kernel, and the first one run."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from helpers.lab_in_chromium import NotebookPage
from helpers.paths import REPOSITORY

NOTEBOOKS = REPOSITORY / "notebooks"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
_MOST_PICTURE_BYTES = 300_000


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_without_a_kernel(open_notebook: Callable[..., NotebookPage], name: str) -> None:
    opened = open_notebook(NOTEBOOKS / f"{name}.ipynb", with_kernel=False)
    expect(opened.panel.locator(".jp-MarkdownOutput h1").first).to_be_visible(timeout=20_000)
    cards = opened.panel.locator(".ne-card")
    for place in range(cards.count()):
        assert cards.nth(place).evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(255, 255, 255)"
    expect(opened.panel.get_by_text("Error displaying widget")).to_have_count(0)


def test_the_first_notebook_and_its_viewer(
    run_notebook: Callable[..., NotebookPage], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    opened = run_notebook(NOTEBOOKS / "explore_neurons.ipynb", height=2400)
    viewer = opened.panel.locator(".ne-viewer").first
    viewer.scroll_into_view_if_needed()
    heading = viewer.locator(".ne-record > div").first
    layer, neuron = (viewer.get_by_label(name, exact=True).input_value() for name in ("Layer", "Neuron"))
    expect(heading).to_have_text(f"Layer {layer}, neuron {neuron}")
    viewer.get_by_label("Your text").fill("She had five and twenty pounds; Mr. Darcy had ten thousand a year.")
    viewer.get_by_role("button", name="Compute").click()
    own = viewer.locator(".ne-card:not(.ne-record)")
    expect(own).to_contain_text("Darcy", timeout=60_000)
    picture = request.config.getoption("--viewer-picture") or tmp_path / "viewer.png"
    opened.picture(picture, opened.panel.locator(".ne-viewer").first)
    assert picture.stat().st_size <= _MOST_PICTURE_BYTES
    first = own.locator("bdi").first.get_attribute("title")
    viewer.get_by_role("button", name="Next").click()
    expect(heading).to_have_text(f"Layer {layer}, neuron {int(neuron) + 1}", timeout=20_000)
    expect(own.locator("bdi").first).not_to_have_attribute("title", first or "", timeout=20_000)
    viewer.get_by_label("Activations").select_option("attn_write_norm")
    expect(heading).to_contain_text("attention head", timeout=20_000)
    # Without a network, a public dataset is an error, and the shown neuron stays
    viewer.get_by_label("Dataset").select_option("gpt2-small")
    alert = viewer.get_by_role("alert")
    expect(alert).to_contain_text("DownloadError", timeout=60_000)
    expect(alert).to_contain_text("of tiny")
    expect(heading).to_contain_text("attention head")
    viewer.get_by_label("Dataset").select_option("tiny")
    expect(alert).to_have_count(0, timeout=20_000)
    assert opened.flag() is None
    # Plotly's figures are drawn, and their static HTML is hidden
    figure = opened.panel.locator(".jp-Cell", has_text="The second example as a figure").locator(
        "xpath=following-sibling::*[1]"
    )
    figure.scroll_into_view_if_needed()
    expect(figure.locator(".js-plotly-plot")).to_have_count(1, timeout=20_000)
    expect(figure.locator(".ne-card")).to_have_count(0)
