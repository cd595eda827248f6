"""Records by a node's name or index, where a layer and a number are taken too."""

import re
from typing import Any

import pytest

import neuron_explainer as ne
from neuron_explainer.activations.derived_scalars.names.records import record_asked
from neuron_explainer.errors import InvalidIndexError, InvalidRequestError, NodeNameError
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as Dst

HEAD = ne.NodeIndex("attention_head", 0, (3, 1, 1))


@pytest.mark.parametrize(
    ("node", "layer", "number", "dst"),
    [
        ("L2N5", 2, 5, Dst.MLP_POST_ACT),
        ("2:5", 2, 5, Dst.MLP_POST_ACT),
        ("L2N5@7", 2, 5, Dst.MLP_POST_ACT),
        ('MLP 2:5 at " the"', 2, 5, Dst.MLP_POST_ACT),
        ("L0H1", 0, 1, Dst.ATTN_WRITE_NORM),
        (HEAD, 0, 1, Dst.ATTN_WRITE_NORM),
        (ne.NodeName.of(HEAD), 0, 1, Dst.ATTN_WRITE_NORM),
        (ne.DerivedScalarIndex("mlp_write_norm", 2, (0, 5)), 2, 5, Dst.MLP_POST_ACT),
    ],
    ids=str,
)
def test_a_name_finds_the_record_that_two_numbers_find(node: Any, layer: int, number: int, dst: Dst) -> None:
    expected = ne.load_neuron("tiny", layer, number, dst)
    assert ne.load_neuron("tiny", node) == expected
    assert [each.record for each in ne.load_neurons([node], "tiny", progress=False)] == [expected]
    viewer = ne.NeuronViewer("tiny", node)
    assert viewer.record == expected
    other = ne.NeuronViewer("tiny", 3, 3)
    other.show(node)
    assert other.record == expected
    for each in (viewer, other):
        each.close()


def test_the_type_that_was_given_tells_what_a_pair_means() -> None:
    assert ne.load_neuron("tiny", "0:1", dst="attn_write_norm") == ne.load_neuron("tiny", "L0H1")
    viewer = ne.NeuronViewer("tiny", "0:1", dst="attn_write_norm")
    viewer.show("1:2")
    assert viewer.record == ne.load_neuron("tiny", "L1H2")
    viewer.show("L1N2")
    assert viewer.record == ne.load_neuron("tiny", "L1N2")
    viewer.close()


def test_a_live_record_by_name_is_that_by_numbers() -> None:
    texts = ["In the beginning God created the heaven and the earth."]
    assert ne.live_record("tiny", "L1N355", None, texts) == ne.live_record("tiny", 1, 355, texts)


@pytest.mark.parametrize(
    ("arguments", "error", "reason"),
    [
        (
            ("L0A1",),
            InvalidRequestError,
            "L0A1 is an autoencoder latent, but the records here are of mlp_post_act, attn_",
        ),
        (("L0H1", None, "mlp_post_act"), InvalidRequestError, "L0H1 is an attention head, but the records here are of"),
        (("L0N1", 3), InvalidRequestError, "layer must be 0 or a positive whole number, not 'L0N1'"),
        ((3,), InvalidRequestError, "The neuron of layer 3 is missing. Give its number, or its name: L2N5"),
        (("L0MLP",), InvalidIndexError, "L0MLP is not one head, neuron or latent"),
        (("zero",), NodeNameError, "'zero' is not a node's name"),
    ],
)
def test_what_names_no_record_is_refused(arguments: tuple[Any, ...], error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=re.escape(reason)):
        ne.load_neuron("tiny", *arguments)


def test_a_latent_of_another_autoencoder_is_refused() -> None:
    assert record_asked("L5A3", Dst.MLP_AUTOENCODER_LATENT)[:2] == (5, 3)
    assert record_asked("L5A3/mlp", Dst.MLP_AUTOENCODER_LATENT)[:2] == (5, 3)
    with pytest.raises(
        InvalidRequestError, match="L5A3/attn is an autoencoder latent, but the records here are of mlp_"
    ):
        record_asked("L5A3/attn", Dst.MLP_AUTOENCODER_LATENT)
