"""What a node writes, against the real model with the final norm's scale held; and its activations over the prompt."""

from typing import Any

import pytest
import torch
from torch import Tensor

import neuron_explainer as ne
from helpers.derived_scalars import DISTRACTOR, EACH_STRUCTURE, PROMPT, TARGET, autoencoders, context
from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.derived_scalars.derivation import derive
from neuron_explainer.attribution import Attribution, attribute
from neuron_explainer.errors import InvalidRequestError, MisconfiguredError, NodeNameError
from neuron_explainer.models.layers.routed import values_of
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D

LAST = len(PROMPT) - 1
VOCABULARY = 61


def asked(family: str, **options: Any) -> Attribution:
    return attribute(context(family), PROMPT, TARGET, DISTRACTOR, **options)


def logits_of(why: Attribution, node: Any) -> Tensor:
    """What a node writes, by token id."""
    table = why.writes(node, VOCABULARY)
    assert sorted(table["token_id"]) == list(range(VOCABULARY))
    return torch.tensor(table.sort_values("token_id")["logit"].tolist(), dtype=torch.float64)


def difference(logits: Tensor) -> float:
    return float(logits[TARGET] - logits[DISTRACTOR])


def lost(why: Attribution, token: int, write: Tensor) -> Tensor:
    """What the model's logits at a token lose without a write, the final norm's scale held; minus the mean."""
    model, place = why.model.get_or_create_model(), ("resid_post_mlp", why.model.n_layers - 1)
    tokens, cap = torch.tensor([PROMPT]), model.config.logits_softcap
    scale_of = "resid_final_layer_norm_scale"
    with model.record([scale_of]) as recording, torch.no_grad():
        whole = model(tokens)[0, token]
    scale = recording[scale_of]

    def without(resid: Tensor) -> Tensor:
        changed = resid.clone()
        changed[0, token] -= write
        return changed

    with torch.no_grad(), model.intervene(*place, without), model.intervene(scale_of, None, lambda _: scale):
        rest = model(tokens)[0, token]
    if cap is not None:
        whole, rest = (torch.atanh(logits / cap) * cap for logits in (whole, rest))
    return (whole - rest) - (whole - rest).mean()


def write_of(why: Attribution, node: str, **config: Any) -> Tensor:
    """A node's write as `derive` gives it."""
    index = ne.parse_node(node).to_node_index()
    settings = DstConfig(model_context=why.model, node_index_for_attribution=index, **config)
    written = derive(PROMPT, D.SINGLE_NODE_WRITE, settings).activations(D.SINGLE_NODE_WRITE)[index.layer_index]
    token = index.tensor_indices[0]
    assert isinstance(token, int)
    return written[token]


def close(actual: Tensor, expected: Tensor) -> None:
    assert float(expected.abs().max()) > 1e-6
    torch.testing.assert_close(actual, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("family", EACH_STRUCTURE)
def test_writes_are_what_the_models_logits_lose_without_them(family: str) -> None:
    why = asked(family)
    neuron = why.nodes(1, kinds="neuron", layers=1, tokens=2).iloc[0]
    for node in ("L1H1@5<-2", "L2H0@3<-3", neuron["name"]):
        token = ne.parse_node(node).token
        assert isinstance(token, int)
        close(logits_of(why, node), lost(why, token, write_of(why, node)))
    close(logits_of(why, neuron), logits_of(why, neuron["name"]))
    whole = derive(PROMPT, [D.ATTN_WRITE, D.RESID_POST_EMBEDDING, D.RESID_DELTA_MLP, D.RESID_DELTA_ATTN], why.model)
    close(logits_of(why, "L1H1@4"), lost(why, 4, whole.activations(D.ATTN_WRITE)[1][4, :, 1].sum(0)))
    for node, dst, layer in (
        ("EMB@3", D.RESID_POST_EMBEDDING, None),
        ("L2MLP@3", D.RESID_DELTA_MLP, 2),
        ("L0ATTN@3", D.RESID_DELTA_ATTN, 0),
    ):
        close(logits_of(why, node), lost(why, 3, whole.activations(dst)[layer][3]))


@pytest.mark.parametrize("family", EACH_STRUCTURE)
def test_writes_at_the_asked_position_are_direct_effects(family: str) -> None:
    why = asked(family)
    for kind in ("head", "neuron", "embedding"):
        for _, row in why.nodes(5, "direct_effect", kinds=kind, tokens=LAST).iterrows():
            assert difference(logits_of(why, row)) == pytest.approx(row["direct_effect"], rel=1e-9, abs=1e-12)
    for _, row in why.heads(3).iterrows():
        assert difference(logits_of(why, f"{row['name']}@-1")) == pytest.approx(row["direct_effect"], rel=1e-9)
    by_part = why.parts().groupby(["layer", "part"])["direct_effect"].sum()
    for name, part in (("MLP", "MLP"), ("ATTN", "attention")):
        for layer in range(3):
            expected = by_part[layer, part] + by_part.get((layer, f"{part} bias"), 0.0)
            assert difference(logits_of(why, f"L{layer}{name}@-1")) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("family", EACH_STRUCTURE)
def test_writes_after_ablations_are_direct_effects(family: str) -> None:
    nodes = ("L1H0", "L2ATTN@5", "L2MLP@5")
    why = asked(family).ablate("L1H1@5<-2").ablate(*nodes, value="mean", reference=[PROMPT, [3, 4, 5]])
    for row in (
        *why.nodes(6, "direct_effect", tokens=LAST, layers=1).iterrows(),
        *why.nodes(6, "direct_effect", tokens=LAST, layers=0).iterrows(),
    ):
        assert difference(logits_of(why, row[1])) == pytest.approx(row[1]["direct_effect"], rel=1e-9, abs=1e-12)
    heads = why.heads().set_index("name")["direct_effect"]
    assert difference(logits_of(why, "L1H0@5")) == pytest.approx(heads["L1H0"], rel=1e-9)
    assert not why.writes("L2H0@5")["logit"].any()
    assert not why.writes("L2N0@5")["logit"].any()


_PLACES = (D.RESID_DELTA_MLP, D.ATTN_WEIGHTED_SUM_OF_VALUES, D.RESID_POST_MLP, D.MLP_POST_ACT)


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "granite"])
def test_writes_of_latents(family: str) -> None:
    for place in _PLACES:
        own = autoencoders(family, place)
        why = asked(family, autoencoders=own)
        for _, row in why.nodes(2, "direct_effect", kinds="latent").iterrows():
            logits = logits_of(why, row)
            assert difference(logits) == pytest.approx(row["direct_effect"], rel=1e-8)
            close(logits, lost(why, LAST, write_of(why, row["name"], autoencoder_context=own)))
            assert why.activations_of(row)["activation"].iloc[LAST] == pytest.approx(row["activation"])


def test_writes_of_chosen_experts() -> None:
    why = asked("mixtral")
    for _, row in why.nodes(5, "direct_effect", kinds="neuron", tokens=LAST).iterrows():
        assert difference(logits_of(why, row)) == pytest.approx(row["direct_effect"], rel=1e-9)
        close(logits_of(why, row), lost(why, LAST, write_of(why, row["name"])))
        assert why.activations_of(row)["total_effect"].iloc[LAST] == pytest.approx(row["total_effect"])


def test_the_table_of_what_a_node_writes() -> None:
    model = ne.load_model("tiny")
    why = attribute(model, "Mr. Darcy looked at Elizabeth and said to", " her", " him")
    table = why.writes("L3H0@11<-8", 3)
    whole = why.writes("L3H0@11<-8", 5000)
    assert len(whole) == model.vocab_size
    assert whole["logit"].is_monotonic_decreasing
    assert abs(whole["logit"].mean()) < 1e-6
    assert table["token_id"].tolist() == [*whole["token_id"][:3], *whole["token_id"][-3:]]
    assert table["token"].tolist() == [model.decode([token]) for token in table["token_id"]]
    assert list(table.columns) == ["token", "token_id", "logit"]
    # Without a token, that with the largest total effect.
    for kind, name in (("head", "L3H0"), ("neuron", "L1N339"), ("embedding", "EMB")):
        largest = why.nodes(1, kinds=kind, names=name)["name"].iloc[0]
        assert why.writes(name).attrs["node"] == largest
        assert why.writes(name).equals(why.writes(largest))
    by_layer = why.tokens(by_layer=True)
    of_mlp = by_layer[by_layer["layer"] == 2].set_index("position")["mlp"]
    assert why.writes("L2MLP").attrs["node"] == f"L2MLP@{of_mlp.abs().idxmax()}"


def test_writes_in_a_trace_and_in_answers_of_several_tokens() -> None:
    why = asked("gpt2")
    up = why.trace("L2N5@5")
    assert up.writes("L1H1@5<-2").equals(why.writes("L1H1@5<-2"))
    with pytest.raises(InvalidRequestError, match="L2N3@1 is not among the nodes of this answer"):
        asked("gpt2").trace("L1N5@5").writes("L2N3@1")
    several = attribute(context("gpt2"), PROMPT, [[7, 11, 3]], [[2, 9]])
    row = several.nodes(60, kinds="neuron", by="direct_effect")
    of_second = row[row["answer"] == several.inquiry.passes[1].answer].iloc[0]
    assert of_second["predicting_position"] is not None
    effects = several.effects[1]
    node = of_second.name.tensor_indices
    assert several.activations_of(of_second)["activation"].iloc[node[0]] == pytest.approx(of_second["activation"])
    assert several.activations_of(of_second)["total_effect"].iloc[node[0]] == pytest.approx(of_second["total_effect"])
    assert len(several.activations_of(of_second)) == len(effects.prompt.token_ids)


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "mistral"])
def test_activations_over_the_prompt_and_patterns(family: str) -> None:
    why = asked(family)
    pairs, pattern = why.activations_of("L1H1@3"), why.pattern("L1H1@3<-1")
    assert len(pairs) == len(PROMPT) * (len(PROMPT) + 1) // 2
    assert (pattern.dtype, pattern.device.type) == (torch.float32, "cpu")
    torch.testing.assert_close(pattern.sum(-1), torch.ones(len(PROMPT)))
    table = why.nodes(1000, kinds="head", names="L1H1").set_index("name")
    seen = 0
    for row in pairs.to_dict("records"):
        position, attended_to = int(row["position"]), int(row["attended_to_position"])
        assert (row["token"], row["attended_to"]) == (f"t{PROMPT[position]}", f"t{PROMPT[attended_to]}")
        assert row["activation"] == pytest.approx(float(pattern[position, attended_to]), abs=1e-7)
        node = f"L1H1@{position}<-{attended_to}"
        if node in table.index:
            seen += 1
            assert row["total_effect"] == pytest.approx(table["total_effect"][node])
            assert row["activation"] == pytest.approx(table["activation"][node])
    assert seen == len(table) > 10
    patterns = why.patterns()
    assert list(patterns) == [0, 1, 2]
    assert patterns[1].data_ptr() == why.store.activations(D.ATTN_QK_PROBS)[1].data_ptr()
    torch.testing.assert_close(patterns[1][..., 1].float(), pattern)
    neurons, own = why.activations_of("L2N5"), why.store.activations(D.MLP_POST_ACT)[2][:, 5]
    assert neurons["activation"].tolist() == own.tolist()
    assert neurons["token"].tolist() == [f"t{token}" for token in PROMPT]


def test_an_answer_from_a_file(tmp_path: Any) -> None:
    own = autoencoders("gpt2", D.RESID_DELTA_MLP)
    why = asked("gpt2", autoencoders=own)
    why.save(tmp_path / "why.safetensors")
    alone = ne.load_attribution(tmp_path / "why.safetensors")
    for node in ("L1H1", "L1N3", "L1A4"):
        assert alone.activations_of(node).equals(why.activations_of(node))
    assert alone.pattern("L1H1").equal(why.pattern("L1H1"))
    of_file, of_model = (each.nodes(5, names=["L1H1", "L2A4"])["name"].tolist() for each in (alone, why))
    assert of_file == of_model
    assert len(of_file) == 5
    with pytest.raises(MisconfiguredError, match="without its model"):
        alone.writes("L1H1@5")
    together = ne.load_attribution(tmp_path / "why.safetensors", context("gpt2"), autoencoders=own)
    for node in ("L1H1@5", "L1A4@5"):
        assert together.writes(node).equals(why.writes(node))


def test_how_many_bytes() -> None:
    why = asked("gpt2")
    of_store = sum(values_of(each).nbytes for by_layer in why.store.kept.values() for each in by_layer.values())
    before = why.n_bytes
    assert of_store < before < 2 * of_store
    why.nodes(5, "write_norm")
    norms = sum(values_of(group.activation).nbytes for group in why.groups[0])
    assert before + norms * 0.9 < why.n_bytes <= before + norms


@pytest.mark.parametrize(
    ("method", "node", "says"),
    [
        ("writes", "L1", "L1 has no write of its own. Give a head, neuron"),
        ("writes", "FINAL@2", "FINAL@2 has no write"),
        ("writes", "L9H0", "no layer 9"),
        ("writes", "L9MLP@2", "no layer 9"),
        ("writes", "L1H9", "L1H9: the layer has 4 of these"),
        ("writes", "L1H0@1<-4", "cannot attend to the later token"),
        ("writes", "L1A3", "asked without autoencoders"),
        ("activations_of", "EMB@3", "EMB@3 has no activations over the prompt. Give one head"),
        ("activations_of", "L1N99999", "of these. Choose 0 to"),
        ("pattern", "L1N3", "L1N3 has no attention pattern. Give one head"),
    ],
)
def test_what_is_refused(method: str, node: str, says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        getattr(asked("gpt2"), method)(node)


def test_other_mistakes() -> None:
    why = asked("gpt2")
    for method in (why.writes, why.activations_of, why.pattern):
        with pytest.raises(NodeNameError, match="'nonsense' is not a node's name"):
            method("nonsense")
    with pytest.raises(InvalidRequestError, match="n is 0"):
        why.writes("L1H0@5", 0)


def test_writes_of_prompts_that_shared_a_pass() -> None:
    prompts = [PROMPT, PROMPT[:4], [*PROMPT, 9]]
    several = attribute(context("gemma2"), prompts, TARGET, DISTRACTOR)
    for why, prompt in zip(several, prompts, strict=True):
        alone = attribute(context("gemma2"), prompt, TARGET, DISTRACTOR)
        for node in ("L1H1@3<-2", f"L2H0@{len(prompt) - 1}", "L2N5@2", "EMB@1"):
            torch.testing.assert_close(logits_of(why, node), logits_of(alone, node))
