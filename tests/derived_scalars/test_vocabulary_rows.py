"""The rows of the vocabulary: their attributes agree with the names, and each scalar is registered by its name."""

import ast
import html
import re
from pathlib import Path

import pytest

import neuron_explainer as ne
from neuron_explainer.activations.derived_scalars import derivers
from neuron_explainer.activations.derived_scalars.derivers import catalogue  # noqa: F401  # fills the table
from neuron_explainer.activations.derived_scalars.engine.evaluation import DERIVERS
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.vocabulary.derived_scalar_rows import Requirement, ScalarLayers, Source
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D
from neuron_explainer.vocabulary.nodes import NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType as Place
from neuron_explainer.vocabulary.weights import WeightLocationType as Weight

REGISTRATIONS = {"derives", "derives_for_autoencoders", "derives_raw_activation"}


def registered_names(path: Path) -> set[str]:
    """The derived scalars that a module's registrations name literally, as `_DST.NAME` or `DerivedScalarType.NAME`."""
    return {
        argument.attr
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in REGISTRATIONS
        for argument in call.args
        if isinstance(argument, ast.Attribute) and ast.unparse(argument.value) in ("_DST", "DerivedScalarType")
    }


def test_each_scalar_is_registered_by_its_literal_name():
    (folder,) = derivers.__path__
    assert set().union(*map(registered_names, Path(folder).glob("*.py"))) == set(D.__members__)


@pytest.mark.parametrize("dst", D)
def test_attributes_agree_with_the_name(dst):
    name = dst.name
    assert dst.is_online == name.startswith("ONLINE_")
    assert (dst.error_place is not None) == ("AUTOENCODER_ERROR" in name)
    assert dst.needs_trace_gradient == ("FINAL_ACTIVATION_RESIDUAL_GRAD" in name)
    assert dst.is_raw_activation == (name in Place.__members__)
    if dst.raw_place is not None:
        assert dst.raw_place.name == name
        assert dst.is_online == dst.raw_place.is_online_autoencoder_place
    is_about_node = name.startswith(("SINGLE_NODE", "GRAD_OF_SINGLE")) or "_EDGE_" in name
    assert (Requirement.NODE in dst.requires) == is_about_node
    assert (dst.layers is ScalarLayers.OF_TRACED_LATENT) == (Requirement.TRACED_LATENT in dst.requires)
    if "MLP_AUTOENCODER" in name:
        assert dst.autoencoder_node_type is NodeType.MLP_AUTOENCODER_LATENT
    elif "ATTENTION_AUTOENCODER" in name:
        assert dst.autoencoder_node_type is NodeType.ATTENTION_AUTOENCODER_LATENT
    elif "AUTOENCODER_LATENT_GRAD" not in name and ("AUTOENCODER" in name or name.endswith("_BATCHED")):
        assert dst.autoencoder_node_type is NodeType.AUTOENCODER_LATENT
    else:
        assert dst.autoencoder_node_type is None


@pytest.mark.parametrize("kind", [NodeType.MLP_AUTOENCODER_LATENT, NodeType.ATTENTION_AUTOENCODER_LATENT])
def test_the_scalars_of_each_autoencoder_correspond(kind):
    """Each has the axes and requirements of the generic scalar; all of the kind's scalars but errors are reached."""
    reached = {dst.update_from_autoencoder_node_type(kind) for dst in D}
    assert {dst for dst in D if dst.autoencoder_node_type is kind and dst.error_place is None} <= reached
    for dst in D:
        specific = dst.update_from_autoencoder_node_type(kind)
        assert specific.shape_spec_per_token_sequence == dst.shape_spec_per_token_sequence
        assert (specific.requires, specific.layers, specific.source) == (dst.requires, dst.layers, dst.source)


def test_meanings_are_docstrings_of_one_line_each():
    assert len({dst.meaning for dst in D}) == len(D)
    for dst in D:
        assert dst.__doc__.startswith(f"{dst.meaning}\n\n")
        assert "help(DerivedScalarType)" in dst.__doc__
        assert dst.__doc__.endswith(f"Source: {dst.source.value}.")
        assert "\n" not in dst.meaning
        assert not dst.meaning.endswith(".")
    assert {dst.source for dst in D} == set(Source)


@pytest.mark.parametrize("dst", D)
def test_a_meaning_stands_alone(dst):
    """It is not told by another scalar's name, and it says so where the gradient is none."""
    assert not set(re.findall(r"[A-Z]+(?:_[A-Z]+)+", dst.meaning)) & set(D.__members__)
    forward, backward = DERIVERS[dst, PassType.FORWARD], DERIVERS.get((dst, PassType.BACKWARD))
    repeats = backward is not None and (backward.function, backward.needs) == (forward.function, forward.needs)
    assert dst.meaning.endswith("; BACKWARD repeats it") == repeats


def test_the_table_has_a_row_for_each_scalar():
    table = ne.derived_scalars()
    assert table.name.tolist() == list(D.__members__)
    assert list(table) == ["name", "meaning", "axes", "layers", "location", "requires", "source"]
    row = table.set_index("name").loc["ATTN_WRITE_TO_LATENT"]
    assert row["axes"] == "tokens × tokens attended to × heads"
    assert row.layers == "the layer of the traced latent"
    assert row.requires == "trace_config of a latent, autoencoders"
    row = table.set_index("name").loc["MLP_OUT_EDGE_ATTRIBUTION"]
    assert row.requires == "a loss or trace_config, node_index_for_attribution"


def test_the_table_can_be_searched():
    found = ne.derived_scalars("Direct EFFECT neuron loss").name.tolist()
    assert "MLP_WRITE_TO_FINAL_RESIDUAL_GRAD" in found
    assert "MLP_WRITE_NORM" not in found
    by_head = ne.derived_scalars("attention").name.tolist()
    assert {"ATTN_WRITE_NORM", *(dst.name for dst in D if dst.node_type is NodeType.ATTENTION_HEAD)} <= set(by_head)
    assert ne.derived_scalars("attn").name.tolist() == by_head
    for words in ("attention write norm", "NORM attn write"):
        assert ne.derived_scalars(words).name[0] == "ATTN_WRITE_NORM"
    with pytest.raises(InvalidRequestError, match="search must be of type str, not int"):
        ne.derived_scalars(5)
    assert ne.derived_scalars("no such scalar").empty
    assert list(ne.derived_scalars("no such scalar")) == list(ne.derived_scalars())


def test_front_ends_show_whole_meanings():
    for search in ("ATTN_WRITE_TO_LATENT", "p"):
        table = ne.derived_scalars(search)
        assert all(meaning in " ".join(repr(table).split()) for meaning in table.meaning[:20])
        assert all(html.escape(meaning, quote=False) in table._repr_html_() for meaning in table.meaning[:20])
    assert max(map(len, repr(ne.derived_scalars()).splitlines())) <= 92
    assert ", source" in repr(ne.derived_scalars("no such scalar"))
    assert "106" not in repr(table[["name"]])


def test_places_say_which_autoencoders_they_belong_to():
    online = {place for place in Place if place.is_online_autoencoder_place}
    assert {place.name for place in online} == {name for name in Place.__members__ if name.startswith("ONLINE_")}
    assert {place for place in Place if place.is_autoencoder_error} == {
        Place.ONLINE_MLP_AUTOENCODER_ERROR,
        Place.ONLINE_RESIDUAL_MLP_AUTOENCODER_ERROR,
        Place.ONLINE_RESIDUAL_ATTENTION_AUTOENCODER_ERROR,
    }
    assert not any(place.has_no_layers for place in online)
    assert Weight.FINAL_LAYER_NORM_GAIN.has_no_layers
    assert not Weight.MLP_INPUT_LAYER_NORM_GAIN.has_no_layers
