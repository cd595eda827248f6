"""The names of nodes: what is printed is read, today's and the former spelling, and names of every index."""

import itertools
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuron_explainer as ne
from helpers.property_tests import property_settings
from neuron_explainer.activations.derived_scalars.indexing import DIMENSIONS_BY_NODE_TYPE
from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.errors import IndexOutOfRangeError, InvalidIndexError, NodeNameError, UnknownNameError
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as Dst
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import NodeType

TOKENS = ["When", " Mary", " and", " John", " met", ",", " Mary", "'s", "\n"]
POSITIONS = st.integers(0, 10**9)
ENTRIES = st.one_of(POSITIONS, st.just("All"))
TOKEN = st.one_of(st.none(), st.integers(-(10**9), 10**9), st.text(max_size=5), st.characters())


@st.composite
def names(draw: st.DrawFn) -> ne.NodeName:
    kind = draw(st.sampled_from(NodeKind))
    fields: dict[str, Any] = {"kind": kind, "token": draw(TOKEN)}
    if kind.has_layer:
        fields["layer"] = draw(POSITIONS)
    if kind.has_component:
        fields["component"] = draw(ENTRIES)
    if kind not in (NodeKind.VOCAB, NodeKind.MODEL):
        fields["channel"] = draw(st.one_of(st.none(), ENTRIES))
    if kind in (NodeKind.HEAD, NodeKind.LATENT, NodeKind.ATTENTION):
        fields["attended_to"] = draw(TOKEN)
    if kind in (NodeKind.LATENT, NodeKind.ERROR):
        fields["autoencoder"] = draw(st.sampled_from([None, "mlp", "attn"]))
    if kind is NodeKind.HEAD:
        fields["part"] = draw(st.sampled_from([None, "q", "k", "qk", "v"]))
    if kind is NodeKind.LATENT:
        fields["head"] = draw(st.one_of(st.none(), POSITIONS))
    return ne.NodeName(**fields)


@property_settings(300)
@given(names())
def test_what_is_printed_is_read_as_the_same(name: ne.NodeName) -> None:
    assert ne.NodeName.parse(str(name)) == name
    assert ne.NodeName.parse(f"  {name}\n", kind=name.kind) == name
    assert eval(repr(name), {"NodeName": ne.NodeName}) == name
    if not (isinstance(name.token, str) or isinstance(name.attended_to, str)):
        assert ne.NodeName.parse(str(name).lower()) == name


@property_settings(100)
@given(st.lists(st.text(max_size=4), min_size=1, max_size=5), st.data())
def test_a_name_with_its_tokens_texts_is_read_and_compared(tokens: list[str], data: st.DataObject) -> None:
    positions = st.integers(0, len(tokens) - 1)
    name = ne.NodeName("head", 5, 1, token=data.draw(positions), attended_to=data.draw(positions))
    shown = name.in_prompt(tokens)
    assert ne.NodeName.parse(shown) == ne.NodeName.parse(shown, tokens=tokens) == name
    changed = [f"{token}!" for token in tokens]
    with pytest.raises(NodeNameError, match=f"the prompt's token {name.token} is"):
        ne.NodeName.parse(shown, tokens=changed)


@property_settings(200)
@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(NodeNameError):
        name = ne.parse_node(text)
        assert ne.parse_node(str(name)) == name


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("L23H3", "L23H3"),
        (" l26n1262 @ 7 ", "L26N1262@7"),
        ("l5a102/MLP", "L5A102/mlp"),
        ("L5MLP", "L5MLP"),
        ("emb@-1", "EMB@-1"),
        ("v50", "V50"),
        ("L5ERR/attn.7", "L5ERR/attn.7"),
        ("L23H3@14 <- 1", "L23H3@14<-1"),
        ("L23H3@14←1", "L23H3@14<-1"),
        ("L23H3<-0", "L23H3<-0"),
        ('L23H3@" to"<-" Mary"', "L23H3@' to'<-' Mary'"),
        (r"L23H3@'\'s'", 'L23H3@"\'s"'),
        (r"L23H3@'\n\x00\u202e'", r"L23H3@'\n\x00\u202e'"),
        # the former spelling
        ("MLP 3:17", "L3N17"),
        ('MLP 3:17 at " the"', "L3N17@' the'"),
        ("MLP 0:all at all tokens", "L0N*"),
        ("MLP 4:3 channel 8 at all tokens", "L4N3.8"),
        ("head 5:1", "L5H1"),
        ('head 5:1 from " Mary" to " John"', "L5H1@' Mary'<-' John'"),
        ('head 5:1 from "\\n" to all tokens', "L5H1@'\\n'"),
        ("latent 5:102", "L5A102"),
        ("MLP latent 5:102", "L5A102/mlp"),
        ("attention latent 5:1", "L5A1/attn"),
        ("MLP autoencoder error 5:9", "L5ERR/mlp.9"),
        ('embedding of " a"', "EMB@' a'"),
        ("attention layer 3", "L3ATTN"),
        ("MLP layer 3", "L3MLP"),
        ('residual stream after attention 4 at "A"', "L4MID@'A'"),
        ("residual stream after MLP 4", "L4RESID"),
        ("layer 4", "L4"),
        ("layer", "MODEL"),
        ("channel 5:12", "L5.12"),
        ("channel 12", "EMB.12"),
        ('vocabulary token 50 at " b"', "V50@' b'"),
        ('MLP 3:17 at """', "L3N17@'\"'"),
    ],
)
def test_how_names_may_be_written(text: str, printed: str) -> None:
    assert str(ne.parse_node(text)) == printed


def test_a_pair_of_numbers_is_read_where_the_kind_is_known() -> None:
    assert str(ne.parse_node("23:3@7<-2", kind="head")) == "L23H3@7<-2"
    assert str(ne.parse_node("23:3", kind=NodeType.MLP_NEURON)) == "L23N3"
    assert str(ne.parse_node(ne.NeuronId(23, 3), kind="latent")) == "L23A3"
    for refused in ("23:3", ne.NeuronId(23, 3)):
        with pytest.raises(NodeNameError, match=r"'23:3' can be read as L23H3 \(an attention head\), L23N3") as caught:
            ne.parse_node(refused)
        assert caught.value.choices == ["L23H3", "L23N3", "L23A3"]
    with pytest.raises(NodeNameError, match="'L23H3' names an attention head, but an MLP neuron is asked for"):
        ne.parse_node("L23H3", kind="neuron")
    with pytest.raises(NodeNameError, match="'L23H3' names an attention head, but an MLP neuron is asked for"):
        ne.parse_node(ne.NodeName("head", 23, 3), kind="mlp_neuron")
    with pytest.raises(UnknownNameError, match=r"Unknown kind of node 'nouron'\. Did you mean: neuron"):
        ne.parse_node("23:3", kind="nouron")


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("L23Q3", "L23H3"),
        ("H23.3", "L23H3"),
        ("blocks.5.mlp", "L5MLP"),
        ("L5ATN", "L5ATTN"),
        ("", "EMB"),
        ("@7", "L7MLP"),
    ],
)
def test_what_is_no_name_is_answered_with_the_forms_and_the_nearest(text: str, nearest: str) -> None:
    with pytest.raises(NodeNameError, match=r"is not a node's name\. Did you mean: .* Write L23H3 \(head\)") as caught:
        ne.parse_node(text)
    assert nearest in caught.value.choices
    assert all(ne.parse_node(choice) for choice in caught.value.choices)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("L5N3/mlp", "an MLP neuron has no autoencoder"),
        ("L5N3@4<-1", "an MLP neuron has no token attended to"),
        ("L5A3/q", "an autoencoder latent has no part"),
        ("V3.2", "a vocabulary token's logit has no channel"),
        ("L5H1/h3", "an attention head has no head"),
    ],
)
def test_parts_that_a_kind_does_not_have_are_refused(text: str, reason: str) -> None:
    with pytest.raises(NodeNameError, match=reason):
        ne.parse_node(text)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"kind": "head", "component": 3}, "an attention head is in a layer. Give it, as in L23H3"),
        ({"kind": "embedding", "layer": 3}, "the embedding belongs to no layer"),
        ({"kind": "mlp", "layer": 3, "component": 1}, "a layer's MLP has no number"),
        ({"kind": "head", "layer": -1, "component": 1}, "layer is -1. Give a whole number"),
        ({"kind": "head", "layer": 1, "component": "all"}, "component is 'all'. Give a whole number"),
        ({"kind": "head", "layer": 1, "component": 1, "part": "o"}, "part is 'o'. Choose one of: q, k, qk, v"),
        ({"kind": "neuron", "layer": 1, "component": 1, "token": 1.5}, "token is 1.5"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidIndexError, match=re.escape(reason)):
        ne.NodeName(**fields)


def test_tokens_become_positions_in_a_prompt() -> None:
    assert str(ne.parse_node("L5H1@' John'<-'When'", tokens=TOKENS)) == "L5H1@3<-0"
    assert str(ne.parse_node("L5N1@-1", tokens=TOKENS)) == "L5N1@8"
    assert str(ne.parse_node(r"L5N1@'\n'", tokens=TOKENS)) == "L5N1@8"
    assert str(ne.parse_node('MLP 5:1 at "\\n"', tokens=TOKENS)) == "L5N1@8"
    assert str(ne.parse_node(ne.NodeName("neuron", 5, 1, token="'s"), tokens=TOKENS)) == "L5N1@7"
    with pytest.raises(NodeNameError, match="' Mary' at the positions 1 and 6") as caught:
        ne.parse_node("L5H1@8<-' Mary'", tokens=TOKENS)
    assert caught.value.choices == ["L5H1@8<-1", "L5H1@8<-6"]
    with pytest.raises(
        NodeNameError, match=r"no token 'Jon'. The nearest are, with their positions: ' John' \(3\)"
    ) as c:
        ne.parse_node("L5H1@'Jon'", tokens=TOKENS)
    assert c.value.choices[0] == "L5H1@' John'"
    for beyond in (9, -10):
        with pytest.raises(IndexOutOfRangeError, match=f"no token {beyond}. Choose a position from 0 to 8"):
            ne.parse_node(f"L5N1@{beyond}", tokens=TOKENS)
    unresolved = ne.parse_node("L5N1@' John'")
    with pytest.raises(NodeNameError, match=r"known only in a prompt. Call .resolved\(tokens\)"):
        unresolved.to_node_index()


def node_indices() -> list[ne.NodeIndex]:
    """Every node type, with a position or "All" on each of its axes."""
    found = []
    for node_type, axes in DIMENSIONS_BY_NODE_TYPE.items():
        layer = None if node_type in (NodeType.TOKEN, NodeType.VOCAB_TOKEN) else 4
        entries: list[list[Any]] = [[0] if axis is Dimension.SINGLETON else [3, "All"] for axis in axes]
        if node_type is NodeType.AUTOENCODER_LATENT_BY_TOKEN_PAIR:
            entries[1] = [3]  # without the token attended to, the name is that of the latent
        found += [ne.NodeIndex(node_type, layer, chosen) for chosen in itertools.product(*entries)]
    found += [ne.AttnSubNodeIndex("attention_head", 4, (7, "All", 1), q_k_or_v=part) for part in ("q", "k", "v")]
    return found


@pytest.mark.parametrize("index", node_indices(), ids=str)
def test_the_name_of_a_node_index_gives_the_node_index_back(index: ne.NodeIndex) -> None:
    name = ne.NodeName.of(index)
    assert ne.parse_node(str(name)).to_node_index() == index
    assert type(name.to_node_index()) is type(index)


@pytest.mark.parametrize("dst", Dst, ids=lambda dst: dst.value)
def test_every_number_of_every_derived_scalar_has_a_name_of_its_own(dst: Dst) -> None:
    layer = None if dst.has_no_layers else 4
    entries = [[0] if axis is Dimension.SINGLETON else [0, 2] for axis in dst.shape_spec_per_token_sequence]
    indices = [ne.DerivedScalarIndex(dst, layer, chosen) for chosen in itertools.product(*entries)]
    printed = [ne.NodeName.of(index).in_prompt(TOKENS) for index in indices]
    assert len(set(printed)) == len(indices)
    assert [ne.parse_node(name, tokens=TOKENS) for name in printed] == [ne.NodeName.of(index) for index in indices]
    whole = ne.NodeName.of(ne.DerivedScalarIndex(dst, layer, ["All"] * len(entries)))
    assert ne.parse_node(str(whole)) == whole == whole.whole()


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("L5H1@7<-3", ("attn.qk_probs", 5, (7, 3, 1))),
        ("L5H1<-3", ("attn.qk_probs", 5, ("All", 3, 1))),
        ("L5H1", ("attn.v_out", 5, ("All", 1, "All"))),
        ("L5H1.7@3", ("attn.v_out", 5, (3, 1, 7))),
        ("L5H1/q@3", ("attn.q", 5, (3, 1, "All"))),
        ("L5H1/k.2", ("attn.k", 5, ("All", 1, 2))),
        ("L5H1/v", ("attn.v", 5, ("All", 1, "All"))),
        ("L5N131@7", ("mlp.post_act", 5, (7, 131))),
        ("L5N*", ("mlp.post_act", 5, ("All", "All"))),
        ("L5A9", ("online_autoencoder_latent", 5, ("All", 9))),
        ("L5A9/mlp", ("online_mlp_autoencoder_latent", 5, ("All", 9))),
        ("L5A9/attn", ("online_attention_autoencoder_latent", 5, ("All", 9))),
        ("L5ERR/attn.3", ("online_residual_attention_autoencoder_error", 5, ("All", 3))),
        ("L5MLP@2", ("resid.delta_mlp", 5, (2, "All"))),
        ("L5ATTN.3", ("resid.delta_attn", 5, ("All", 3))),
        ("L5MID", ("resid.post_attn", 5, ("All", "All"))),
        ("L5RESID.12@1", ("resid.post_mlp", 5, (1, 12))),
        ("EMB@1", ("resid.post_emb", None, (1, "All"))),
        ("V50@1", ("logits", None, (1, 50))),
        ("FINAL", ("resid.post_ln_f", None, ("All", "All"))),
    ],
)
def test_a_name_is_numbers_of_the_forward_pass(name: str, index: tuple[str, int | None, tuple[Any, ...]]) -> None:
    expected = ne.ActivationIndex(*index)
    node = ne.parse_node(name)
    assert node.to_activation_index() == expected
    assert node.to_activation_index("backward").pass_type is ne.PassType.BACKWARD
    assert node.to_ablation(0.5) == ne.AblationSpec(expected, 0.5)
    assert ne.NodeName.of(expected) == node
    assert ne.NodeName.of(node.to_ablation()) == node


def test_the_residual_stream_before_a_layer_is_the_end_of_the_one_before() -> None:
    assert ne.parse_node("L5START").to_activation_index() == ne.ActivationIndex("resid.post_mlp", 4, ("All", "All"))
    assert ne.parse_node("L0START").to_activation_index() == ne.ActivationIndex("resid.post_emb", None, ("All", "All"))


@pytest.mark.parametrize(
    ("name", "method", "reason"),
    [
        ("L5", "to_activation_index", "not a single place of the forward pass. Write L5MLP, L5ATTN or L5RESID"),
        ("MODEL", "to_activation_index", "not a single place"),
        ("L5ERR/mlp", "to_activation_index", "online_mlp_autoencoder_error"),
        ("L5H1/qk", "to_activation_index", "L5H1/qk is two places"),
        ("L5N1.3", "to_activation_index", "L5N1.3 is finer than ActivationIndex can say: it has no channel"),
        ("L5A1/h2", "to_activation_index", "no head of an autoencoder latent"),
        ("L5N1.3", "to_node_index", "L5N1.3 is finer than NodeIndex can say"),
        ("L5H1.3@4<-1", "to_node_index", "no token attended to of an attention head"),
        ("L5RESID", "to_trace_config", "cannot start at the node type layer"),
        ("L5H*@3<-1", "to_trace_config", "starts at one component"),
        ("L5MLP", "to_neuron_id", "L5MLP is not one head, neuron or latent"),
        ("L5N*", "to_neuron_id", "not one head, neuron or latent"),
    ],
)
def test_what_a_name_cannot_become_is_refused(name: str, method: str, reason: str) -> None:
    with pytest.raises(InvalidIndexError, match=re.escape(reason)):
        getattr(ne.parse_node(name), method)()


def test_a_name_is_a_trace() -> None:
    head = ne.parse_node("L5H1@7<-3")
    index = ne.NodeIndex("attention_head", 5, (7, 3, 1))
    assert head.to_trace_config("q") == ne.TraceConfig(index, "pre", attention_trace_type="Q")
    assert head.to_trace_config() == ne.TraceConfig(index, "pre", attention_trace_type="QK")
    assert head.to_trace_config("V").pre_or_post_act.value == "post"
    assert ne.parse_node("L5H1/k@7<-3").to_trace_config() == ne.TraceConfig(index, "pre", attention_trace_type="K")
    assert ne.parse_node("L5N3@7").to_trace_config() == ne.TraceConfig(ne.NodeIndex("mlp_neuron", 5, (7, 3)), "post")
    detached = ne.parse_node("V50@7").to_trace_config(pre_or_post_act="post", detach_layer_norm_scale=True)
    assert detached.detach_layer_norm_scale
    for trace in (head.to_trace_config("v"), detached):
        again = ne.NodeName.of(trace).to_trace_config(
            pre_or_post_act=trace.pre_or_post_act, detach_layer_norm_scale=trace.detach_layer_norm_scale
        )
        assert again == trace


def test_a_name_is_derived_at() -> None:
    model = ne.load_model("tiny", device="cpu")
    text = "Once upon a time"
    store = ne.derive(text, ["mlp_post_act", "attn_write_norm"], model)
    frame = store.to_dataframe(5)
    indices = store.topk(5)[1]
    assert [ne.parse_node(name) for name in frame["name"]] == [ne.NodeName.of(index) for index in indices]
    neuron = ne.NodeName.of(store.topk(1, dsts="mlp_post_act")[1][0])
    without = ne.derive(text, ["mlp_post_act"], model, ablations=[neuron.to_ablation(0.0)])
    assert without[ne.DerivedScalarIndex("mlp_post_act", neuron.layer, (neuron.token_index, neuron.component))] == 0
