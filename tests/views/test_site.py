"""A static site: its pages, lists and rows, read back; what is stopped goes on; what is not a site's stays."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import torch

import neuron_explainer as ne
from benchmarks.small_models import random_autoencoders
from helpers.collation_models import changeable_context, model_context, transformer_of
from helpers.derived_scalars import annotations_unchecked
from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.html_reading import Element, read_html
from helpers.neuron_records import INFO, TOKENS
from helpers.packed_layers import layer_by_token
from helpers.paths import REPOSITORY
from neuron_explainer.activations.packed.writing import write_packed_dataset_info, write_packed_layer
from neuron_explainer.errors import DatasetExistsError, InvalidRequestError, UnknownDatasetError
from neuron_explainer.views.site import export, node_page
from neuron_explainer.views.site import folder as site_folder
from neuron_explainer.views.site.plan import SitePlan

NODES = [f"L{layer}N{index}" for layer in (0, 2) for index in (*range(8), 355)]


@pytest.fixture(autouse=True)
def notes(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURON_EXPLAINER_NOTES", str(tmp_path / "notes"))
    with annotations_unchecked():
        yield


def dataset_of(folder: Path, tokens: list[str] = TOKENS) -> Path:
    """A packed dataset of two layers with two neurons each."""
    write_packed_dataset_info(folder, INFO, tokens)
    for layer in INFO.layer_indices:
        write_packed_layer(folder, layer, layer_by_token())
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def links_of(html: str) -> list[str]:
    return [element.attributes["href"] for element in read_html(html).find("a")]


def reachable(folder: Path) -> set[Path]:
    """All pages that links lead to from the index, each of which must exist within the folder."""
    seen: set[Path] = set()
    waiting = [(folder / "index.html").resolve()]
    while waiting:
        page = waiting.pop()
        if page not in seen:
            seen.add(page)
            for address in links_of(page.read_text()):
                target = (page.parent / unquote(address)).resolve()
                assert target.is_file(), (page, address)
                assert target.is_relative_to(folder.resolve())
                waiting.append(target)
    return seen


def rows_of(folder: Path, layer: int, number: int = 0) -> list[list]:
    text = (folder / "search" / f"L{layer}-{number}.js").read_text()
    called = re.fullmatch(r"neRows\((\d+),(.*)\);\n", text, re.DOTALL)
    assert called is not None
    assert int(called[1]) == layer
    assert "<" not in text
    return json.loads(called[2])


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "pages"
    made = ne.export_site("tiny", folder, nodes=NODES, progress=False)
    assert (made.path, made.n_pages, made.n_written) == (folder, len(NODES), len(NODES))
    return folder


def test_every_page_is_reached_and_every_link_leads_somewhere(site):
    pages = {path.relative_to(site.resolve()).as_posix() for path in reachable(site)}
    assert {f"{name[:2]}/{name}.html" for name in NODES} | {"index.html", "L0/list-0.html", "L2/list-0.html"} == pages
    assert set(files_of(site)) == pages | {
        "site.js",
        "site.json",
        "search/layers.js",
        "search/L0-0.js",
        "search/L2-0.js",
    }
    assert max(path.stat().st_size for path in site.rglob("*")) < 1_000_000


def test_a_page_has_what_the_component_says(site):
    node = ne.component("tiny", "L2N5")
    page = read_html((site / "L2" / "L2N5.html").read_text())
    assert page.find("title")[0].text == "L2N5 · Neurons of tiny"
    assert "neuron 5 of layer 2" in page.find("h1")[0].text
    text = page.text
    for word in [*node.writes(8)["token"], *node.reads(8)["token"]]:
        assert word.strip() in text
    marked = [each.text for each in page.find("span") if "data-ne-node" in each.attributes]
    assert [*node.neighbours(6, "write")["name"], *node.neighbours(6, "read")["name"]] == marked
    linked = {link.text for link in page.find("a")}
    assert linked & set(marked) == set(marked) & set(NODES)  # those that have a page, and no others
    assert {"← L2N4", "L2N6 →", "Index", "Layer 2"} <= linked
    assert not page.find("script")
    assert len(page.find(css_class="ne-example")) > 6


def test_neighbours_that_have_a_page_are_links(tmp_path):
    name = ne.component("tiny", "L2N5").neighbours(1)["name"][0]
    ne.export_site("tiny", tmp_path / "s", nodes=["L2N5", name], neighbours=1, progress=False)
    page = read_html((tmp_path / "s" / "L2" / "L2N5.html").read_text())
    assert f"../{name.split('N')[0]}/{name}.html" in [link.attributes["href"] for link in page.find("a")]


def test_lists_and_rows_say_the_same(site):
    node = ne.component("tiny", "L2N355")
    row = rows_of(site, 2)[-1]
    assert (row[0], row[4]) == (355, float(f"{node.record.max_activation:.4g}"))
    assert row[3][0].lstrip("·") == node.writes(1)["token"][0].strip()
    cells = read_html((site / "L2" / "list-0.html").read_text()).find("tr")[-1].find("td")
    assert [cells[0].text, cells[2].text, cells[3].text] == ["L2N355", " ".join(row[2]), " ".join(row[3])]
    example = node.record.most_positive_activation_records[0]
    peak = example.tokens[int(np.argmax(example.activations))]
    assert row[2][0].strip("·") == peak.strip()


def test_a_second_call_writes_nothing_and_a_missing_page_is_made_again(site):
    before = files_of(site)
    assert ne.export_site("tiny", site, nodes=NODES, progress=False).n_written == 0
    (site / "L0" / "L0N3.html").unlink()
    assert ne.export_site("tiny", site, nodes=NODES, progress=False).n_written == 1
    assert files_of(site) == before


def test_a_stopped_export_goes_on_to_the_same_bytes(site, tmp_path, monkeypatch):
    folder, made = tmp_path / "pages", node_page.node_page
    done = []

    def stopped(*given):
        done.append(1)
        if len(done) == 7:
            raise KeyboardInterrupt
        return made(*given)

    monkeypatch.setattr(export, "node_page", stopped)
    with pytest.raises(KeyboardInterrupt):
        ne.export_site("tiny", folder, nodes=NODES, progress=False)
    assert not (folder / "index.html").exists()
    assert len(list((folder / "L0").iterdir())) == 6
    monkeypatch.setattr(export, "node_page", made)
    assert ne.export_site("tiny", folder, nodes=NODES, progress=False).n_written == len(NODES) - 6
    assert files_of(folder) == files_of(site)


KILLED = """
import sys, neuron_explainer as ne
from neuron_explainer.storage import atomic
replace = atomic.os.replace
def slow(source, target):
    if str(target).endswith("L0N4.html"):
        print("here", flush=True)
        sys.stdin.read()
    replace(source, target)
atomic.os.replace = slow
ne.export_site("tiny", sys.argv[1], nodes=sys.argv[2:], progress=False)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_export_goes_on_and_one_at_a_time_works(site, tmp_path):
    folder = tmp_path / "pages"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder), *NODES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"here\n"
    with pytest.raises(DatasetExistsError, match="Another run"):
        ne.export_site("tiny", folder, nodes=NODES, progress=False)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert list(folder.rglob("*.partial"))
    ne.export_site("tiny", folder, nodes=NODES, progress=False)
    assert files_of(folder) == files_of(site)


def test_other_settings_need_overwrite_which_removes_what_the_site_had(tmp_path):
    folder = tmp_path / "s"
    ne.export_site("tiny", folder, nodes=["L1N1", "L2N2"], progress=False)
    with pytest.raises(DatasetExistsError, match=r"title.*overwrite=True"):
        ne.export_site("tiny", folder, nodes=["L1N1", "L2N2"], title="Other", progress=False)
    ne.export_site("tiny", folder, nodes=["L0N9"], overwrite=True, progress=False)
    assert not (folder / "L1").exists()
    assert (folder / "L0" / "L0N9.html").is_file()
    ne.component("tiny", "L0N9").explanations.add("mine")  # the pages would differ
    with pytest.raises(DatasetExistsError, match="explanations"):
        ne.export_site("tiny", folder, nodes=["L0N9"], progress=False)


@pytest.mark.parametrize("place", ["mine.txt", "L1/mine.html", "L7/L7N0.html", "index.html", "site.json", "run.lock"])
@pytest.mark.parametrize("has_site", [True, False])
def test_files_of_others_are_never_touched(tmp_path, place, has_site):
    folder = tmp_path / "s"
    if has_site:
        ne.export_site("tiny", folder, nodes=["L1N1"], progress=False)
        if place == "index.html":
            return  # a site's own
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).write_text("precious")
    before = files_of(folder)
    for overwrite in (False, True):
        with pytest.raises(DatasetExistsError, match=re.escape(place)):
            ne.export_site("tiny", folder, nodes=["L1N1"], overwrite=overwrite, progress=False)
    assert files_of(folder) == before


def test_a_link_in_the_folder_is_not_followed(tmp_path):
    folder = tmp_path / "s"
    ne.export_site("tiny", folder, nodes=["L1N1"], progress=False)
    page, kept = folder / "L1" / "L1N1.html", tmp_path / "kept"
    page.unlink()
    kept.write_text("precious")
    page.symlink_to(kept)
    with pytest.raises(DatasetExistsError, match="L1N1"):
        ne.export_site("tiny", folder, nodes=["L1N1"], overwrite=True, progress=False)
    assert kept.read_text() == "precious"


def _harmless(html: str) -> Element:
    """What only the site itself may run or load, and nothing is typeset."""
    page = read_html(html)
    assert "mathjax_ignore" in page.find("body")[0].attributes["class"]
    scripts = [each.attributes.get("src") for each in page.find("script")]
    assert scripts in ([], ["site.js", "search/layers.js"])
    assert all(not each.text for each in page.find("script"))
    assert not page.find("img")
    assert not page.find("iframe")
    assert not page.find("svg")
    assert len(page.find("style")) <= 2
    for element in page.find():
        assert not [name for name in element.attributes if name.startswith("on")]
        assert not element.attributes.get("href", "").startswith("javascript")
    return page


def test_hostile_texts_run_nothing_and_are_not_typeset(tmp_path):
    hostile = [each for each in HOSTILE_TOKENS if each] + ["$x^2$", "\\(y\\)"]
    titles = "</title><script>window.pwned=1</script> $x$ "
    for start in range(0, len(hostile), 7):
        tokens = (hostile + TOKENS)[start : start + 7]
        dataset = dataset_of(tmp_path / f"d{start}", tokens)
        node = ne.component(dataset, "L1N0")
        node.explanations.add("</script><script>window.pwned=1</script>\u2028 $x$ " + "".join(tokens).replace("\0", ""))
        folder = tmp_path / f"s{start}"
        ne.export_site(dataset, folder, title=titles, progress=False)
        for name, content in files_of(folder).items():
            if name.endswith(".html"):
                page = _harmless(content.decode())
                assert page.find("title")[0].text.count(titles.strip()) == 1
        assert "window.pwned" in rows_of(folder, 1)[0][1]
        assert str(tmp_path) not in "".join(each.decode() for each in files_of(folder).values())


def test_pages_stay_under_a_megabyte_and_say_what_they_leave_out(tmp_path, monkeypatch):
    dataset = dataset_of(tmp_path / "d", ["<" * 60_000, *TOKENS[1:]])
    ne.export_site(dataset, tmp_path / "s", progress=False)
    assert max(map(len, files_of(tmp_path / "s").values())) < 1_000_000
    assert "under 1 MB" in (tmp_path / "s" / "L1" / "L1N0.html").read_text()
    monkeypatch.setattr(node_page, "MOST_BYTES", 100_000)
    ne.export_site("tiny", tmp_path / "t", nodes=["L2N5"], examples=20, progress=False)
    html = (tmp_path / "t" / "L2" / "L2N5.html").read_text()
    assert len(html.encode()) < 100_000
    assert "Fewer examples" in html
    assert "left out" not in html


def test_a_model_alone_and_latents_and_heads(tmp_path):
    context = model_context()
    autoencoders = random_autoencoders(context, ne.DerivedScalarType.RESID_POST_MLP, n_latents=5)
    made = ne.export_site(context, tmp_path / "s", 1, autoencoders=autoencoders, progress=False)
    assert made.n_pages == 5
    one = ne.export_site(context, tmp_path / "one", nodes=["L1A4"], autoencoders=autoencoders, progress=False)
    assert one.n_pages == 1
    assert "What it reads" in (tmp_path / "s" / "L1" / "L1A4.html").read_text()
    reachable(tmp_path / "s")
    ne.export_site("tiny", tmp_path / "h", nodes=["L1H0", "L1H1"], dst="attn_write_norm", progress=False)
    assert "Copying score" in (tmp_path / "h" / "L1" / "L1H1.html").read_text()
    assert rows_of(tmp_path / "h", 1)[0][2]
    reachable(tmp_path / "h")


def test_a_site_of_other_weights_does_not_go_on(tmp_path):
    context = changeable_context()
    nodes: dict[str, Any] = {"nodes": ["L1N3", "L1N4"], "progress": False}
    ne.export_site(context, tmp_path / "s", **nodes)
    before = files_of(tmp_path / "s")
    (tmp_path / "s" / "L1" / "L1N4.html").unlink()
    with torch.no_grad():
        transformer_of(context).blocks[1].mlp.output_weight.mul_(-1)
    with pytest.raises(DatasetExistsError, match="settings"):
        ne.export_site(context, tmp_path / "s", **nodes)
    ne.export_site(context, tmp_path / "s", **nodes, overwrite=True)
    after = files_of(tmp_path / "s")
    assert after["L1/L1N3.html"] != before["L1/L1N3.html"]


def test_explanations_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(UnknownDatasetError, match="nope"):
        ne.export_site("tiny", tmp_path / "s", nodes=["L1N1"], explanations="nope")
    with pytest.raises(UnknownDatasetError, match="nope"):
        ne.NeuronViewer("tiny", explanations="nope")
    assert not (tmp_path / "s").exists()


def test_what_cannot_be_exported_is_said(tmp_path):
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (("tiny", tmp_path / "s"), {"layers": 9}, "layer"),
        (("tiny", tmp_path / "s"), {"nodes": ["L1N99999"]}, "99999"),
        (("tiny", tmp_path / "s"), {"nodes": []}, "nodes is empty"),
        (("tiny", tmp_path / "s"), {"nodes": ["L1N1"], "layers": [2]}, "nodes"),
        (("tiny", tmp_path / "s"), {"nodes": ["L1N1"], "title": "x" * 201}, "title"),
        (("tiny", tmp_path / "s"), {"nodes": ["L1N1"], "title": " "}, "title is empty"),
        (("tiny", tmp_path / "s"), {"nodes": ["L1N1"], "examples": 0}, "examples"),
        (("gpt2-small", tmp_path / "s"), {}, "address"),
    ]
    for given, more, said in cases:
        with pytest.raises(InvalidRequestError, match=said):
            ne.export_site(*given, **more)
    assert not (tmp_path / "s").exists()


def test_large_layers_are_in_several_folders_and_every_path_is_named_once():
    plan = SitePlan(ne.component("tiny", "L0N0").kind, {3: range(25_000)})
    assert plan.page_of(3, 9_999) == "L3/L3N9999.html"
    assert plan.page_of(3, 20_001) == plan.page_of_name("L3N20001") == "L3/20000/L3N20001.html"
    assert plan.page_of_name("L3N25000") is plan.page_of_name("L4N1") is plan.page_of_name("L3A1") is None
    assert len(plan.paths()) == 25_000 + 250 + 63 + 3
    again = SitePlan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again.paths() == plan.paths()


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    def full(*given, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(site_folder, "write_bytes_atomically", full)
    with pytest.raises(ne.errors.OutOfSpaceError):
        ne.export_site("tiny", tmp_path / "s", nodes=["L1N1"], progress=False)
