"""Indices, traces and ablations: what is refused, what JSON gives back, and what hashes as equal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuron_explainer.activations.derived_scalars.index_fields import JsonForm, TensorIndex
from neuron_explainer.activations.derived_scalars.indexing import (
    DIMENSIONS_BY_NODE_TYPE,
    AblationSpec,
    ActivationIndex,
    AttentionTraceType,
    AttnSubNodeIndex,
    DerivedScalarIndex,
    NodeIndex,
    PreOrPostAct,
    TraceConfig,
)
from neuron_explainer.errors import IndexOutOfRangeError, InvalidIndexError, MisconfiguredError
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import AttnSubNode, NodeType, PassType
from neuron_explainer.vocabulary.places import ActivationLocationType

NEURON = NodeIndex(NodeType.MLP_NEURON, 5, (3, 2))
HEAD = NodeIndex(NodeType.ATTENTION_HEAD, 3, (3, 1, 1))
SIZES = {
    Dimension.SEQUENCE_TOKENS: 4,
    Dimension.ATTENDED_TO_SEQUENCE_TOKENS: 4,
    Dimension.MLP_ACTS: 10,
    Dimension.ATTN_HEADS: 2,
}

positions: st.SearchStrategy[TensorIndex] = st.one_of(st.none(), st.just("All"), st.integers(0, 2**40))
pass_types = st.sampled_from(PassType)


@st.composite
def activation_indices(draw: st.DrawFn) -> ActivationIndex:
    place = draw(st.sampled_from(ActivationLocationType))
    layer_index = None if place.has_no_layers else draw(st.integers(0, 200))
    tensor_indices = tuple(draw(positions) for _ in place.shape)
    return ActivationIndex(place, layer_index, tensor_indices, draw(pass_types))


@st.composite
def derived_scalar_indices(draw: st.DrawFn) -> DerivedScalarIndex:
    dst = draw(st.sampled_from(DerivedScalarType))
    tensor_indices = tuple(draw(positions) for _ in dst.shape_spec_per_token_sequence)
    return DerivedScalarIndex(dst, draw(st.none() | st.integers(0, 200)), tensor_indices, draw(pass_types))


@st.composite
def node_indices(draw: st.DrawFn) -> NodeIndex:
    node_type = draw(st.sampled_from(NodeType))
    layer_index = None if node_type in (NodeType.TOKEN, NodeType.VOCAB_TOKEN) else draw(st.integers(0, 200))
    tensor_indices = tuple(draw(positions) for _ in DIMENSIONS_BY_NODE_TYPE[node_type])
    if node_type is NodeType.ATTENTION_HEAD and draw(st.booleans()):
        return AttnSubNodeIndex(node_type, layer_index, tensor_indices, q_k_or_v=draw(st.sampled_from(AttnSubNode)))
    return NodeIndex(node_type, layer_index, tensor_indices, draw(pass_types))


@given(st.one_of(activation_indices(), derived_scalar_indices(), node_indices()))
def test_json_gives_the_same_index_back(index: ActivationIndex | DerivedScalarIndex | NodeIndex) -> None:
    read_as = NodeIndex if isinstance(index, NodeIndex) else type(index)
    again = read_as.from_json(json.dumps(index.to_json()))
    assert again == index
    assert type(again) is type(index)
    assert hash(again) == hash(index)
    assert read_as.from_json(index.to_json()) == index


@given(activation_indices(), st.floats(allow_nan=False, allow_infinity=False))
def test_json_gives_the_same_ablation_back(index: ActivationIndex, value: float) -> None:
    ablation = AblationSpec(index, value)
    assert AblationSpec.from_json(json.dumps(ablation.to_json())) == ablation


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner)))
def test_only_positions_are_taken_as_tensor_indices(value: object) -> None:
    def is_position(entry: object) -> bool:
        return entry is None or entry == "All" or (type(entry) is int and entry >= 0)

    good = isinstance(value, list) and len(value) == 2 and all(is_position(entry) for entry in value)
    if good:
        assert isinstance(value, list)
        assert NodeIndex(NodeType.MLP_NEURON, 0, value).tensor_indices == tuple(value)
    else:
        with pytest.raises(InvalidIndexError):
            NodeIndex(NodeType.MLP_NEURON, 0, value)  # type: ignore[arg-type]


@given(st.dictionaries(st.text(max_size=12), st.integers() | st.text(max_size=3), max_size=4))
def test_arbitrary_json_objects_are_refused_with_a_typed_error(data: dict[str, object]) -> None:
    for kind in (ActivationIndex, NodeIndex, DerivedScalarIndex, TraceConfig, AblationSpec):
        with pytest.raises(InvalidIndexError):
            kind.from_json(data)


def test_the_cases_of_the_golden_files_are_read_and_given_back() -> None:
    root = os.environ.get("NEURON_EXPLAINER_GOLDEN")
    if root is None:
        pytest.skip("NEURON_EXPLAINER_GOLDEN is not set")
    readers: dict[str, type[JsonForm]] = {"trace_config": TraceConfig, "node_index_for_attribution": NodeIndex}
    n_read = 0
    for file in Path(root).glob("*/cases.json"):
        for case in json.loads(file.read_text())["cases"]:
            for ablation in case.get("ablations", []):
                assert AblationSpec.from_json(ablation).to_json() == ablation
                n_read += 1
            for field, value in case.get("config", {}).items():
                if field == "activation_index_for_fake_grad":
                    assert ActivationIndex.from_json(value).to_json() == value
                elif field in readers:
                    read = readers[field].from_json(value)
                    assert _is_part_of(value, read.to_json())
                    assert readers[field].from_json(read.to_json()) == read
                n_read += 1
    assert n_read > 40


def _is_part_of(part: object, whole: object) -> bool:
    """Whether every value of `part` stands in `whole`, which may say more (a pass type that was not written)."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(_is_part_of(value, whole.get(key)) for key, value in part.items())
    return part == whole


def test_whole_axes_index_a_tensor_as_slices() -> None:
    index = ActivationIndex(ActivationLocationType.ATTN_QK_PROBS, 3, (3, "All", None))
    assert index.slices == (3, slice(None), slice(None))
    assert not index.is_one_number
    assert HEAD.is_one_number
    assert HEAD.slices == (3, 1, 1)


def test_numpy_and_string_values_become_plain_ones() -> None:
    numpy = pytest.importorskip("numpy")
    index = NodeIndex("mlp_neuron", numpy.int64(5), [numpy.int32(3), 2])
    assert index == NEURON
    assert hash(index) == hash(NEURON)
    assert type(index.layer_index) is int
    assert index.node_type is NodeType.MLP_NEURON


@pytest.mark.parametrize(
    ("layer_index", "tensor_indices"),
    [
        (5, (3,)),
        (5, (3, 2, 1)),
        (5, ()),
        (5, (3, -1)),
        (5, (3, "some")),
        (5, (3, 2.0)),
        (5, (True, 2)),
        (-1, (3, 2)),
        ("5", (3, 2)),
        (5, 3),
        (5, "All"),
    ],
)
def test_malformed_indices_are_refused(layer_index: object, tensor_indices: object) -> None:
    with pytest.raises(InvalidIndexError) as caught:
        NodeIndex(NodeType.MLP_NEURON, layer_index, tensor_indices)  # type: ignore[arg-type]
    assert isinstance(caught.value, AssertionError)
    assert isinstance(caught.value, MisconfiguredError)


def test_layers_are_given_where_there_are_any_and_only_there() -> None:
    with pytest.raises(InvalidIndexError, match="Give the layer_index"):
        ActivationIndex(ActivationLocationType.MLP_POST_ACT, None, (0, 0))
    with pytest.raises(InvalidIndexError, match="once in a model"):
        ActivationIndex(ActivationLocationType.LOGITS, 2, (0, 0))
    with pytest.raises(InvalidIndexError, match="does not belong to a layer"):
        NodeIndex(NodeType.TOKEN, 0, (0, 0))


def test_unknown_names_are_answered_with_near_ones() -> None:
    with pytest.raises(InvalidIndexError, match=r"node type .*Did you mean: mlp_neuron"):
        NodeIndex("mlp_neurn", 0, (0, 0))
    with pytest.raises(InvalidIndexError, match="has no field 'layer'"):
        NodeIndex.from_json({"node_type": "mlp_neuron", "layer": 1, "tensor_indices": [0, 0]})


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (NodeIndex(NodeType.MLP_NEURON, 6, (0, 0)), "no layer 6; layers: 0–5"),
        (NodeIndex(NodeType.MLP_NEURON, 0, (4, 0)), "sequence_tokens is out of range. Choose 0 to 3"),
        (NodeIndex(NodeType.MLP_NEURON, 0, (0, 10)), "mlp_acts is out of range. Choose 0 to 9"),
        (ActivationIndex(ActivationLocationType.ATTN_QK_PROBS, 0, (0, 4, 0)), "attended_to_sequence_tokens"),
        (DerivedScalarIndex(DerivedScalarType.UNFLATTENED_ATTN_WRITE_NORM, 0, (0, 0, 2)), "attn_heads"),
    ],
)
def test_positions_beyond_the_model_are_found_before_it_runs(index: NodeIndex, message: str) -> None:
    with pytest.raises(IndexOutOfRangeError, match=message):
        index.check_against(6, SIZES)
    with pytest.raises(IndexError):
        index.check_against(6, SIZES.get)


def test_positions_that_are_there_pass() -> None:
    NodeIndex(NodeType.MLP_NEURON, 5, (3, 9)).check_against(6, SIZES)
    NodeIndex(NodeType.AUTOENCODER_LATENT, 5, (3, 10**9)).check_against(6, SIZES)  # the model cannot say
    trace = TraceConfig(HEAD, PreOrPostAct.POST, attention_trace_type=AttentionTraceType.V)
    trace.check_against(6, SIZES)
    with pytest.raises(IndexOutOfRangeError):
        trace.check_against(3, SIZES)


@pytest.mark.parametrize(
    ("place", "node_type", "pre_or_post_act"),
    [
        (ActivationLocationType.MLP_PRE_ACT, NodeType.MLP_NEURON, PreOrPostAct.PRE),
        (ActivationLocationType.MLP_POST_ACT, NodeType.MLP_NEURON, PreOrPostAct.POST),
        (ActivationLocationType.ATTN_QK_LOGITS, NodeType.ATTENTION_HEAD, PreOrPostAct.PRE),
        (ActivationLocationType.ATTN_QK_PROBS, NodeType.ATTENTION_HEAD, PreOrPostAct.POST),
        (ActivationLocationType.ONLINE_AUTOENCODER_LATENT, NodeType.AUTOENCODER_LATENT, PreOrPostAct.POST),
        (ActivationLocationType.ONLINE_MLP_AUTOENCODER_LATENT, NodeType.MLP_AUTOENCODER_LATENT, PreOrPostAct.POST),
        (ActivationLocationType.LOGITS, NodeType.VOCAB_TOKEN, PreOrPostAct.POST),
    ],
)
def test_a_trace_of_an_activation(
    place: ActivationLocationType, node_type: NodeType, pre_or_post_act: PreOrPostAct
) -> None:
    index = ActivationIndex(place, None if place.has_no_layers else 2, tuple(range(len(place.shape))))
    trace = TraceConfig.from_activation_index(index, detach_layer_norm_scale=True)
    assert trace.node_type is node_type
    assert trace.pre_or_post_act is pre_or_post_act
    assert trace.layer_index == index.layer_index
    assert trace.tensor_indices == index.tensor_indices
    assert trace.pass_type is PassType.FORWARD
    assert trace.detach_layer_norm_scale
    is_head = node_type is NodeType.ATTENTION_HEAD
    assert trace.attention_trace_type is (AttentionTraceType.QK if is_head else None)


def test_contradictory_traces_are_refused() -> None:
    with pytest.raises(InvalidIndexError, match="cannot start at the node type residual_stream_channel"):
        TraceConfig(NodeIndex(NodeType.RESIDUAL_STREAM_CHANNEL, 0, (0, 0)), PreOrPostAct.POST)
    with pytest.raises(InvalidIndexError, match=r"cannot start at attn\.q"):
        TraceConfig.from_activation_index(ActivationIndex(ActivationLocationType.ATTN_QUERY, 0, (0, 0, 0)))
    with pytest.raises(InvalidIndexError, match="one component"):
        TraceConfig(NodeIndex(NodeType.MLP_NEURON, 0, (0, "All")), PreOrPostAct.POST)
    with pytest.raises(InvalidIndexError, match="every head needs one"):
        TraceConfig(HEAD, PreOrPostAct.POST)
    with pytest.raises(InvalidIndexError, match="is for heads"):
        TraceConfig(NEURON, PreOrPostAct.POST, attention_trace_type=AttentionTraceType.Q)
    neuron_trace = TraceConfig(NEURON, PreOrPostAct.POST)
    with pytest.raises(InvalidIndexError, match=r"only for a trace through a head\'s value \(V\)"):
        TraceConfig(HEAD, PreOrPostAct.POST, False, AttentionTraceType.QK, neuron_trace)
    with pytest.raises(InvalidIndexError, match="use POST"):
        TraceConfig(HEAD, PreOrPostAct.PRE, False, AttentionTraceType.V)
    late_head = NodeIndex(NodeType.ATTENTION_HEAD, 6, (3, 1, 1))
    with pytest.raises(InvalidIndexError, match="not downstream"):
        TraceConfig(late_head, PreOrPostAct.POST, False, AttentionTraceType.V, neuron_trace)
    assert TraceConfig(HEAD, PreOrPostAct.POST, False, AttentionTraceType.V, neuron_trace)


def test_a_trace_of_one_latent_at_all_tokens_is_taken() -> None:
    trace = TraceConfig(NodeIndex(NodeType.AUTOENCODER_LATENT, 5, (None, 7)), PreOrPostAct.POST)
    assert trace.node_index.slices == (slice(None), 7)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "0", None])
def test_ablations_need_a_finite_number(value: object) -> None:
    index = ActivationIndex(ActivationLocationType.MLP_POST_ACT, 0, (0, 0))
    with pytest.raises(InvalidIndexError, match="finite number"):
        AblationSpec(index, value)  # type: ignore[arg-type]


def test_indices_are_frozen_and_are_keys() -> None:
    with pytest.raises(AttributeError):
        NEURON.layer_index = 3  # type: ignore[misc]
    assert {NEURON: 1}[NodeIndex(NodeType.MLP_NEURON, 5, (3, 2))] == 1
    assert NodeIndex(NodeType.MLP_NEURON, 5, (3, 2), PassType.BACKWARD) != NEURON
    as_query = AttnSubNodeIndex(NodeType.ATTENTION_HEAD, 3, (3, 1, 1), q_k_or_v=AttnSubNode.Q)
    assert as_query != HEAD
    with pytest.raises(InvalidIndexError, match="Only an attention head"):
        AttnSubNodeIndex(NodeType.MLP_NEURON, 5, (3, 2), q_k_or_v=AttnSubNode.Q)


def test_naming_places_imports_no_torch() -> None:
    code = "import sys; import neuron_explainer.activations.derived_scalars.indexing; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
