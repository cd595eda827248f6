"""The derived scalar type of a folder of JSON files: taken from whatever says it, else asked for with the choices."""

import json
from pathlib import Path

import pytest

import neuron_explainer as ne
from helpers.neuron_records import neuron_record
from neuron_explainer import DerivedScalarType as Dst
from neuron_explainer.activations.activations import save_neuron
from neuron_explainer.activations.dataset_types import type_in_name
from neuron_explainer.errors import InvalidRequestError, MalformedDatasetError


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("data/attn_write_norm", Dst.ATTN_WRITE_NORM),
        ("https://host/gpt2-small_mlp-post-act-v2/", Dst.MLP_POST_ACT),
        ("MLP_AUTOENCODER_LATENT", Dst.MLP_AUTOENCODER_LATENT),  # which contains autoencoder_latent
        ("mlp_post_act/my copy", Dst.MLP_POST_ACT),
        ("mlp_post_act/a/b", None),  # too far from the end
        ("mlp_post_act_and_attn_write_norm", None),
        ("my_records", None),
        ("", None),
    ],
)
def test_names(path: str, said: Dst | None) -> None:
    assert type_in_name(path) is said


def test_what_a_name_says_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "gpt2-small-mlp_post_act"
    save_neuron(folder, neuron_record(1, 2))
    assert ne.load_neuron(folder, 1, 2).dst is Dst.MLP_POST_ACT
    viewer = ne.NeuronViewer(folder, 1, 2)
    assert viewer.node == ne.NodeIndex("mlp_neuron", 1, ("All", 2))
    contradicted = tmp_path / "attn_write_norm"  # heads have a number for each token pair
    save_neuron(contradicted, neuron_record(1, 2))
    assert ne.load_neuron(contradicted, 1, 2).dst is None
    with pytest.raises(InvalidRequestError, match="in its name or its records"):
        ne.NeuronViewer(contradicted, 1, 2)


@pytest.mark.parametrize("field", ["derived_scalar_type", "dst"])
def test_what_a_record_says_is_taken(field: str, tmp_path: Path) -> None:
    file = save_neuron(tmp_path / "records", neuron_record(0, 0))
    fields = json.loads(file.read_text())
    for value, expected in (("mlp_pre_act", Dst.MLP_PRE_ACT), ("MLP_PRE_ACT", Dst.MLP_PRE_ACT), ("x", None), (5, None)):
        file.write_text(json.dumps(fields | {field: value}))
        assert ne.load_neuron(tmp_path / "records", 0, 0).dst is expected
    file.write_text(json.dumps(fields | {field: "mlp_pre_act"}))
    assert ne.NeuronViewer(tmp_path / "records").controls.choice.dst is Dst.MLP_PRE_ACT
    packed = ne.convert(tmp_path / "records", tmp_path / "packed", model="m")
    assert ne.load_neuron(packed, 0, 0).dst is Dst.MLP_PRE_ACT


def test_what_collate_wrote_is_taken(tmp_path: Path) -> None:
    folder = ne.convert("tiny", tmp_path / "heads", dst="attn_write_norm")
    assert ne.load_neuron(folder, 1, 2).dst is Dst.ATTN_WRITE_NORM
    viewer = ne.NeuronViewer(folder, 1, 2)
    assert viewer.error is None
    assert viewer.node == ne.NodeIndex("attention_head", 1, ("All", "All", 2))
    (folder / "collated.json").write_text('{"derived_scalar_type": 5')
    with pytest.raises(InvalidRequestError) as caught:
        ne.NeuronViewer(folder)
    said = "heads does not say its derived scalar type, in its name or its records. Pass it: NeuronViewer(…, dst=…)."
    assert f"{said} Its records have a number for each token pair. Did you mean: attn_write_norm, " in str(caught.value)
    assert "mlp_post_act" not in str(caught.value)
    with pytest.raises(MalformedDatasetError, match=r"collated\.json is not a valid"):
        ne.convert(folder, tmp_path / "packed", model="m")
    (folder / "collated.json").unlink()
    with pytest.raises(InvalidRequestError, match=r"Give dst=\. Its records have a number for each token pair\."):
        ne.convert(folder, tmp_path / "packed", model="m")


def test_without_a_record_all_types_are_choices(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "0.json").write_text("{")
    with pytest.raises(InvalidRequestError, match="Did you mean: mlp_post_act, attn_write_norm, "):
        ne.NeuronViewer(tmp_path)
    with pytest.raises(InvalidRequestError, match=r"https://host/x does not say"):
        ne.NeuronViewer("https://host/x?key=secret")
