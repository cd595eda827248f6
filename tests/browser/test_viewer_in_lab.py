"""The viewer in JupyterLab, used by mouse and keyboard, without a network."""

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, expect

from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.lab_in_chromium import NotebookPage
from neuron_explainer.activations.activations import ActivationRecord, NeuronId, NeuronRecord, save_neuron
from neuron_explainer.views.colour import contrast, relative_luminance

N_LAYERS, N_NEURONS = 2, 4
SETUP = """
import neuron_explainer as ne
from neuron_explainer.activation_server.neuron_datasets import NeuronDatasetMetadata, register_neuron_dataset_metadata
for name in ("plain", "other"):
    path = {folder!r} + "/" + name
    dst = ne.DerivedScalarType.MLP_POST_ACT
    register_neuron_dataset_metadata(NeuronDatasetMetadata(name, dst, name, path, {layers}, {neurons}))
viewer = ne.NeuronViewer("plain", layer=0, neuron=1)
viewer
"""


def _record(dataset: str, layer: int, neuron: int, tokens: list[str]) -> NeuronRecord:
    example = ActivationRecord(tokens, [place / 8 - 1 for place in range(len(tokens))])
    return NeuronRecord(
        NeuronId(layer, neuron), most_positive_activation_records=[example] * 3, random_sample=[example], mean=0.5
    )


@pytest.fixture
def viewer_notebook(tmp_path: Path, write_notebook: Callable[..., Path]) -> Path:
    """A notebook that shows a viewer on two datasets; neuron 3 in layer 1 of "other" is missing."""
    for dataset in ("plain", "other"):
        for layer in range(N_LAYERS):
            for neuron in range(N_NEURONS):
                tokens = [f"{dataset}-{layer}-{neuron}", " said", " so", ".", "\n", " The", " end"]
                save_neuron(tmp_path / dataset, _record(dataset, layer, neuron, tokens))
    (tmp_path / "other" / "1" / "3.json").unlink()
    return write_notebook("viewer", SETUP.format(folder=str(tmp_path), layers=N_LAYERS, neurons=N_NEURONS))


def _viewer(opened: NotebookPage) -> Locator:
    return opened.panel.locator(".ne-viewer")


def _expect_neuron(opened: NotebookPage, dataset: str, layer: int, neuron: int) -> None:
    expect(_viewer(opened).locator(".ne-record")).to_contain_text(f"{dataset}-{layer}-{neuron}", timeout=20_000)


def _field(opened: NotebookPage, name: str) -> Locator:
    return _viewer(opened).get_by_label(name, exact=True)


def test_choosing_and_moving(run_notebook: Callable[..., NotebookPage], viewer_notebook: Path) -> None:
    opened = run_notebook(viewer_notebook)
    _expect_neuron(opened, "plain", 0, 1)
    _viewer(opened).get_by_role("button", name="Next").click()
    _expect_neuron(opened, "plain", 0, 2)
    _viewer(opened).get_by_role("button", name="Previous").click()
    _expect_neuron(opened, "plain", 0, 1)
    _field(opened, "Dataset").select_option("other")
    _expect_neuron(opened, "other", 0, 1)
    _field(opened, "Layer").fill("1")
    _expect_neuron(opened, "other", 1, 1)
    assert opened.flag() is None


def test_an_error_is_shown_and_goes_away(run_notebook: Callable[..., NotebookPage], viewer_notebook: Path) -> None:
    opened = run_notebook(viewer_notebook)
    _field(opened, "Dataset").select_option("other")
    _field(opened, "Layer").fill("1")
    _field(opened, "Neuron").fill("2")
    _expect_neuron(opened, "other", 1, 2)
    _field(opened, "Neuron").fill("3")
    alert = _viewer(opened).get_by_role("alert")
    expect(alert).to_contain_text("NeuronNotFoundError", timeout=20_000)
    expect(alert).to_contain_text("Still showing layer 1, neuron 2 of other")
    _expect_neuron(opened, "other", 1, 2)
    _viewer(opened).get_by_role("button", name="Previous").click()
    _expect_neuron(opened, "other", 1, 2)
    expect(alert).to_have_count(0, timeout=20_000)


def test_the_keyboard_is_enough(run_notebook: Callable[..., NotebookPage], viewer_notebook: Path) -> None:
    opened = run_notebook(viewer_notebook)
    keyboard = opened.page.keyboard
    _field(opened, "Layer").focus()
    keyboard.press("ControlOrMeta+a")
    keyboard.type("1")
    _expect_neuron(opened, "plain", 1, 1)
    reached = []
    for _ in range(8):
        keyboard.press("Tab")
        reached.append(opened.page.evaluate("() => document.activeElement.innerText || document.activeElement.type"))
        if "Next" in reached[-1]:
            break
    assert "Next" in reached[-1], reached
    keyboard.press("Enter")
    _expect_neuron(opened, "plain", 1, 2)
    keyboard.press("Space")
    _expect_neuron(opened, "plain", 1, 3)


def test_hostile_tokens_are_text(
    run_notebook: Callable[..., NotebookPage], write_notebook: Callable[..., Path], tmp_path: Path
) -> None:
    for neuron in range(N_NEURONS):
        save_neuron(tmp_path / "plain", _record("plain", 0, neuron, HOSTILE_TOKENS))
        save_neuron(tmp_path / "other", _record("other", 0, neuron, HOSTILE_TOKENS))
    setup = SETUP.format(folder=str(tmp_path), layers=1, neurons=N_NEURONS)
    opened = run_notebook(write_notebook("hostile", setup, "viewer.record", "viewer.record.to_dataframe().head(40)"))
    card = _viewer(opened).locator(".ne-record")
    for text in (
        "<script>window.pwned=1</script>",
        '"><img·src=x·onerror="window.pwned=2">',
        "'·onmouseover='window.pwned=3",
        "<!--",
        "&lt;b&gt;",
        "\\u202egnp.exe",
        "\\x1b[31mred",
        "\\x00",
        "\\u200b",
    ):
        expect(card).to_contain_text(text)
    tokens = card.locator("bdi")
    assert tokens.count() == 4 * len(HOSTILE_TOKENS)  # three top examples and a random one, no token lost or doubled
    for place in range(len(HOSTILE_TOKENS)):
        tokens.nth(place).hover()
    assert card.locator("img, iframe, svg, script, [onmouseover], [onfocus], [autofocus]").count() == 0
    assert opened.flag() is None
    assert "\u202e" not in card.inner_text()


def test_a_saved_notebook_shows_the_neuron_without_a_kernel(
    run_notebook: Callable[..., NotebookPage], open_notebook: Callable[..., NotebookPage], viewer_notebook: Path
) -> None:
    opened = run_notebook(viewer_notebook)
    _viewer(opened).get_by_role("button", name="Next").click()
    _expect_neuron(opened, "plain", 0, 2)
    assert opened.panel.locator(".ne-record:visible").count() == 1  # the copy is hidden while the widget lives
    expect(opened.panel.locator(".ne-record", has_text="plain-0-2")).to_have_count(2)  # the copy follows
    saved = opened.save()
    copies = [
        "".join(output.data["text/html"])
        for output in saved.cells[0].outputs
        if output.output_type == "display_data" and "text/html" in output.data
    ]
    assert len(copies) == 1
    assert "plain-0-2" in copies[0]  # what was on view last, not what was first
    assert "widgets" not in saved.metadata
    opened.server.stop_kernels()
    # As its author opens it again: trusted, with a new kernel that does not have the widget
    again = open_notebook(opened.server.root / opened.name)
    card = again.panel.locator(".ne-record:visible")
    expect(card).to_have_count(1)
    expect(card).to_contain_text("plain-0-2")
    expect(again.panel.get_by_text("Error displaying widget")).to_be_hidden()
    # As somebody else opens it: not trusted, without a kernel
    path = viewer_notebook.with_name("as_received.ipynb")
    nbformat.write(saved, path)
    received = open_notebook(path, with_kernel=False)
    card = received.panel.locator(".ne-record:visible")
    expect(card).to_have_count(1)
    expect(card).to_contain_text("plain-0-2")
    coloured = card.locator("bdi", has_text="plain-0-2").first
    assert coloured.evaluate("element => getComputedStyle(element).backgroundColor") != "rgba(0, 0, 0, 0)"


def test_colours_stay_readable_in_the_dark_theme(
    run_notebook: Callable[..., NotebookPage],
    viewer_notebook: Path,
    in_dark_theme: Callable[[NotebookPage], None],
) -> None:
    opened = run_notebook(viewer_notebook)
    in_dark_theme(opened)
    card = _viewer(opened).locator(".ne-record")
    colours = card.evaluate("element => [getComputedStyle(element).backgroundColor, getComputedStyle(element).color]")
    ground, ink = (
        "#" + "".join(f"{int(part):02x}" for part in colour.removeprefix("rgb(").removesuffix(")").split(","))
        for colour in colours
    )
    assert relative_luminance(ground) < 0.05
    assert contrast(ground, ink) >= 4.5
