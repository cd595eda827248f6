"""Components as people write them, and as they paste them."""

import random
import time
from pathlib import Path
from typing import Any

import pytest

import neuron_explainer as ne
from helpers.hostile_tokens import HOSTILE_TOKENS
from neuron_explainer.activation_server import neuron_datasets
from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.components.pasted_links import same_place
from neuron_explainer.components.typed_names import TypedName, read_typed
from neuron_explainer.errors import InvalidRequestError, NeuronExplainerError, NodeNameError

NEURON, HEAD, LATENT = NodeKind.NEURON, NodeKind.HEAD, NodeKind.LATENT
MLP, HEADS = ne.DerivedScalarType.MLP_POST_ACT, ne.DerivedScalarType.ATTN_WRITE_NORM


@pytest.mark.parametrize(
    ("text", "layer", "index", "kind"),
    [
        ("L5N131", 5, 131, NEURON),
        (" l5n131 ", 5, 131, NEURON),
        ("L3H2@7 <- 1", 3, 2, HEAD),
        ("L5A102", 5, 102, LATENT),
        ("MLP 3:17", 3, 17, NEURON),
        ("head 5:1", 5, 1, HEAD),
        ("5:131", 5, 131, None),
        ("5 : 131", 5, 131, None),
        ("5/131", 5, 131, None),
        ("5 131", 5, 131, None),
        ("5, 131", 5, 131, None),
        ("131", None, 131, None),
        (" #131 ", None, 131, None),
        ("neuron 131", None, 131, NEURON),
        ("layer 5 neuron 131", 5, 131, NEURON),
        ("Layer 5, head 3", 5, 3, HEAD),
        ("LAYER  2   LATENT\t9", 2, 9, LATENT),
        ("layer 2 feature #9", 2, 9, LATENT),
        ("neuron 131 of layer 5", 5, 131, NEURON),
        ("MLP neuron no. 131 in the layer 5", 5, 131, NEURON),
        ("attention head 3, layer 5", 5, 3, HEAD),
        ("layer=5; neuron=131", 5, 131, NEURON),
        ("layer5neuron131", 5, 131, NEURON),
        ("L5 N131", 5, 131, NEURON),
        ("layer 5, 131", 5, 131, None),
        ("neuron 5:131", 5, 131, NEURON),
        ("layer 0 component 0", 0, 0, None),
    ],
)
def test_names_and_words(text: str, layer: int | None, index: int, kind: NodeKind | None) -> None:
    assert read_typed(text) == TypedName(layer, index, kind)


def test_the_autoencoder_of_a_latent() -> None:
    assert read_typed("L5A102/mlp") == read_typed("layer 5 mlp latent 102") == TypedName(5, 102, LATENT, "mlp")
    assert read_typed("attn latent 102 of layer 5") == TypedName(5, 102, LATENT, "attn")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "L5",
        "layer 5",
        "L5MLP",
        "L5N*",
        "V17",
        "EMB",
        "neuron",
        "layer 5 neuron",
        "layer neuron 5",
        "layer 5 layer 6 neuron 1",
        "5 6 7",
        "1.5",
        "layer 1.5",
        "5 neuron 131",
        "attention neuron 3 of layer 5",
        "mlp head 3 of layer 5",
        "neuron 3 head 4 layer 1",
        "layer -1 neuron 2",
        "-5",
        "1.5e3",
        "5:131:7",
        "5:6 5:7",
        "٣",
        "layer ५ neuron 3",
        "neuron 99999999999",
        "L99999999999N1",
        "drop table neurons 5",
        "5,131",
    ],
)
def test_what_is_not_understood_says_what_is(text: str) -> None:
    with pytest.raises(NodeNameError, match="131"):
        read_typed(text)


def test_several_readings_are_listed() -> None:
    with pytest.raises(NodeNameError, match=r"written 5:131, or as component 5131 of the present layer"):
        read_typed("5,131")
    with pytest.raises(InvalidRequestError, match="text"):
        read_typed(5)  # type: ignore[arg-type]


BASE = "https://openaipublic.blob.core.windows.net/neuron-explainer/"


@pytest.mark.parametrize(
    ("text", "dataset", "dst"),
    [
        (f"{BASE}data/collated-activations/5/131.json", "gpt2-xl", MLP),
        (f"{BASE.replace('https', 'HTTP')}data/collated-activations/5/131.json?x=1#top", "gpt2-xl", MLP),
        (BASE.removeprefix("https://") + "data/collated-activations/5/131.json", "gpt2-xl", MLP),
        ("az://openaipublic/neuron-explainer/gpt2_small_data/collated-activations/5/131.json", "gpt2-small", MLP),
        (f"{BASE}gpt2_small_data/explanations/5/131.jsonl", "gpt2-small", MLP),
        (f"{BASE}gpt2_small/attn_write_norm/collated-activations-by-token-pair/5/131.json", "gpt2-small", HEADS),
        (f"{BASE}neuron-viewer/index.html#/layers/5/neurons/131", "gpt2-xl", MLP),
        ("https://host/mine/5/131.json", "https://host/mine", None),
        ("/somewhere/mine/5/131.json", "/somewhere/mine", None),
    ],
)
def test_addresses_of_records(text: str, dataset: str, dst: ne.DerivedScalarType | None) -> None:
    assert read_typed(text) == TypedName(5, 131, dataset=dataset, dst=dst)


def test_links_to_neuronpedia(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = dict(neuron_datasets.NEURON_DATASET_METADATA_REGISTRY)
    monkeypatch.setattr(neuron_datasets, "NEURON_DATASET_METADATA_REGISTRY", registry)
    link = "https://www.neuronpedia.org/gpt2-small/5-res-jb/131"
    for text in (link, f"{link}?embed=true", f"{link}/", link.replace("www.", ""), link[8:], link[12:]):
        assert read_typed(text) == TypedName(5, 131, LATENT, dataset="gpt2-small/5-res-jb"), text
    assert read_typed("https://neuronpedia.org/api/feature/gpt2-small/5-res-jb/131").index == 131
    assert read_typed("https://neuronpedia.org/gpt2-small/5/131") == TypedName(5, 131, NEURON, None, "gpt2-small", MLP)
    assert read_typed("https://neuronpedia.org/gemma-2-2b/5/131").dataset == "gemma-2-2b"
    ne.register_neuron_dataset_metadata(
        neuron_datasets.NeuronDatasetMetadata("gpt2-small_res-jb", "autoencoder_latent", "JB", "https://host/jb")
    )
    assert read_typed(link) == TypedName(5, 131, LATENT, dataset="gpt2-small_res-jb")


@pytest.mark.parametrize(
    "text",
    [
        "https://host/page",
        "https://host/5/131.txt",
        "https://www.neuronpedia.org/gpt2-small",
        "https://www.neuronpedia.org/gpt2-small/res-jb/131",
        "https://www.neuronpedia.org.evil.com/gpt2-small/5-res-jb/131",
        f"{BASE}neuron-viewer/index.html#/layers/5",
        "https://host/explanations/5/131.jsonl",
        "javascript://alert/5/131.json",
        "file:///etc/5/131.json",
        "https://[bad/5/131.json",
        "https://a b/5/131.json",
    ],
)
def test_other_links_are_refused(text: str) -> None:
    with pytest.raises(NodeNameError, match=r"131\.json"):
        read_typed(text)


def test_places_are_compared_without_what_is_secret(tmp_path: Path) -> None:
    assert same_place(f"{tmp_path}/a/../b/", str(tmp_path / "b"))
    assert same_place("https://me:key@host:80/data?sig=1", "https://HOST:80/data/")
    assert not same_place("https://host/data", "https://host/data2")
    assert not same_place("https://host/data", None)


@pytest.mark.parametrize("piece", ["1", "layer 5 ", "L5N131", "https://host/", "/5/131.jso/", "neuron", "(", "a:b@"])
def test_long_entries_are_refused_at_once(piece: str) -> None:
    for n_characters in (1_900, 10**6):
        start = time.perf_counter()
        with pytest.raises(NodeNameError) as caught:
            read_typed(piece * (n_characters // len(piece)))
        assert time.perf_counter() - start < 0.5
        assert len(str(caught.value)) < 2500


def test_anything_at_all_is_read_or_refused() -> None:
    rng = random.Random(0)
    pieces: list[Any] = [*HOSTILE_TOKENS, "L5", "N", "131", ":", "layer", "https://", "neuronpedia.org/", "\ud800", "/"]
    for _ in range(500):
        text = "".join(rng.choices(pieces, k=rng.randrange(1, 6)))
        try:
            typed = read_typed(text)
        except NeuronExplainerError:
            continue
        assert typed.index >= 0
