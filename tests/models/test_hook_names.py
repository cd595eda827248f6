"""TransformerLens' names of hooks, wherever a place is taken, and the table of them in the documentation."""

import re
from pathlib import Path

import pytest
import torch

import neuron_explainer as ne
from helpers.lens_models import lens_model
from helpers.tiny_models import our_model, random_tokens
from neuron_explainer.errors import InvalidIndexError, InvalidRequestError, NotRecordedError, UnknownNameError
from neuron_explainer.vocabulary.hook_names import (
    PLACE_BY_HOOK,
    PLACE_BY_HOOK_WITHOUT_LAYER,
    WHY_NO_PLACE,
    hook_place,
    layer_and_hook,
    place_named,
)
from neuron_explainer.vocabulary.places import ActivationLocationType

TOKENS = random_tokens(1, 7)
PAGE = Path(__file__).parents[2] / "docs" / "names.md"


def test_the_table_in_the_documentation_is_the_code() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)`(,[^|]*)? \|([^|]*)\|$", PAGE.read_text(), re.MULTILINE)
    written = {hook: place for hook, place, _, _ in rows if "hook_" in hook}
    in_layers = {f"blocks.L.{hook}": place.value for hook, place in PLACE_BY_HOOK.items()}
    assert written == in_layers | {hook: place.value for hook, place in PLACE_BY_HOOK_WITHOUT_LAYER.items()}
    assert all(f"`{hook}`" in PAGE.read_text() for hook in WHY_NO_PLACE)


def test_a_hook_of_a_layer_is_a_place_of_this_layer() -> None:
    model = our_model("llama")
    hooks = {f"blocks.1.{hook}": place for hook, place in PLACE_BY_HOOK.items() if hook != "hook_resid_pre"}
    with model.record([*hooks, *PLACE_BY_HOOK_WITHOUT_LAYER]) as by_hook:
        model(TOKENS)
    everywhere = [place for place in ActivationLocationType if not place.is_online_autoencoder_place]
    with model.record(everywhere) as by_place:
        model(TOKENS)
    assert len(by_hook) == len({*hooks.values()}) + len(PLACE_BY_HOOK_WITHOUT_LAYER)
    for hook, place in hooks.items():
        torch.testing.assert_close(by_hook[hook], by_place[place, 1], rtol=0, atol=0)
        assert hook in by_hook
        torch.testing.assert_close(by_hook[hook, 1], by_hook[place, 1], rtol=0, atol=0)
    for hook, place in PLACE_BY_HOOK_WITHOUT_LAYER.items():
        torch.testing.assert_close(by_hook[hook], by_place[place], rtol=0, atol=0)
    assert "blocks.0.mlp.hook_post" not in by_hook
    assert "blocks.0.no_hook" not in by_hook
    assert ("blocks.1.mlp.hook_post", 0) not in by_hook
    assert by_hook.layers("blocks.0.mlp.hook_post") == [1]


def test_what_a_layer_reads_is_what_the_one_before_it_wrote() -> None:
    model = our_model("gpt2")
    with model.record([("blocks.1.hook_resid_pre", 1), "blocks.0.hook_resid_pre"], gradients=True) as recording:
        logits = model(TOKENS)
        recording.backward(logits[0, -1, 3])
    assert set(recording) == {("resid.post_mlp", 0), ("resid.post_emb", None)}
    assert recording["blocks.1.hook_resid_pre"] is recording["resid_post_mlp", 0]
    assert recording["blocks.0.hook_resid_pre"] is recording["resid_post_embedding"]
    assert recording.gradient("blocks.1.hook_resid_pre") is recording.gradient("resid_post_mlp", 0)
    with pytest.raises(InvalidRequestError, match="the model has no layer 3; layers: 0–2"):
        model.record("blocks.3.hook_resid_pre")  # although layer 2 has an end


def test_an_intervention_at_a_hook() -> None:
    model = our_model("gpt2")
    with model.intervene("mlp_post_act", 1, torch.zeros_like):
        expected = model(TOKENS)
    for layer in (None, 1, [1]):
        with model.intervene("blocks.1.mlp.hook_post", layer, torch.zeros_like) as intervention:
            torch.testing.assert_close(model(TOKENS), expected, rtol=0, atol=0)
        assert intervention.n_fired == 1
    recording = model.recording(("blocks.0.attn.hook_z", "blocks.1.attn.hook_z"))  # two requests, not a pair
    model(TOKENS, hooks=[recording])
    assert recording.layers("attn.v_out") == [0, 1]


def test_hooks_that_are_not_there() -> None:
    model = our_model("gpt2")
    with pytest.raises(InvalidRequestError, match=r"blocks\.1\.mlp\.hook_post is of layer 1, but the layer given is 0"):
        model.record([("blocks.1.mlp.hook_post", 0)])
    with pytest.raises(InvalidRequestError, match=r"unembed\.hook_out has no layers, but the layer given is 0"):
        model.record([("unembed.hook_out", 0)])
    with pytest.raises(InvalidRequestError, match=r"layer given is \[0, 1\]"):
        model.intervene("blocks.1.mlp.hook_post", [0, 1], torch.zeros_like)
    with pytest.raises(UnknownNameError, match=r"Unknown hook 'blocks\.1\.mlp\.hook_pos'\. Did you mean: blocks\.1"):
        model.record("blocks.1.mlp.hook_pos")
    for hook, why in WHY_NO_PLACE.items():
        name = hook if "embed" in hook else f"blocks.0.{hook}"
        with pytest.raises(UnknownNameError, match=f"Unknown hook '{name}'.*no place here: {re.escape(why)}"):
            model.record(name)
    with pytest.raises(UnknownNameError, match="Unknown place 'hook'"):
        model.record("hook")
    with model.record("blocks.1.mlp.hook_post") as recording:
        model(TOKENS)
    with pytest.raises(NotRecordedError, match=r"mlp\.post_act of layer 0 was not asked for"):
        recording["blocks.0.mlp.hook_post"]


def test_an_index_by_a_hook() -> None:
    index = ne.ActivationIndex("blocks.5.mlp.hook_post", None, ("All", 131))
    assert index == ne.ActivationIndex("mlp_post_act", 5, ("All", 131))
    assert ne.ActivationIndex("blocks.3.hook_resid_pre", 3, ("All", 1)).layer_index == 2
    assert ne.ActivationIndex("blocks.0.hook_resid_pre", None, ("All", 1)).layer_index is None
    with pytest.raises(InvalidIndexError, match=r"ActivationIndex: blocks\.5\.mlp\.hook_post is of layer 5"):
        ne.ActivationIndex("blocks.5.mlp.hook_post", 4, ("All", 131))
    with pytest.raises(InvalidIndexError, match="ActivationIndex: Unknown hook"):
        ne.ActivationIndex("blocks.5.mlp.hook", 4, ("All", 131))
    traced = ne.TraceConfig.from_activation_index(index)
    assert traced.layer_index == 5
    assert ne.DerivedScalarType.from_activation_location_type("blocks.5.mlp.hook_post") == "mlp_post_act"


def test_what_is_no_hook() -> None:
    for text in ("mlp_post_act", "blocks.x.mlp.hook_post", "hook", "", 5, None):
        assert hook_place(text) is None
        assert layer_and_hook(text) == (None, "")
    assert place_named("MLP_POST_ACT") is ActivationLocationType.MLP_POST_ACT


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_against_transformer_lens(name: str) -> None:
    """What the table says of the tensors' differences, in a model of GPT-2's kind and one with rotary embeddings."""
    lens = pytest.importorskip("transformer_lens")
    theirs = lens_model(lens, name)
    _, cache = theirs.run_with_cache(TOKENS)
    model = our_model(name)
    hooks = [f"blocks.1.{hook}" for hook in PLACE_BY_HOOK] + list(PLACE_BY_HOOK_WITHOUT_LAYER)
    with model.record(hooks) as recording:
        model(TOKENS)
    block = model.blocks[1]
    normed = {"ln1": block.attention_norm, "ln2": block.mlp_norm, "ln_final": model.final_norm}
    compared = []
    for hook in hooks:
        if hook not in cache or (name == "llama" and hook.endswith(("hook_q", "hook_k"))):  # these are not rotated
            continue
        expected, found, last = cache[hook], recording[hook], hook.rpartition("_")[2]
        if last in ("pattern", "scores"):
            expected = expected.permute(0, 2, 3, 1)
        if last in ("k", "v"):
            expected = expected.repeat_interleave(found.shape[2] // expected.shape[2], dim=2)
        if last in ("q", "k"):
            expected = expected * theirs.cfg.d_head**-0.25
        if last == "normalized":
            norm = normed[hook.split(".")[-2]]
            expected = expected * norm.effective_gain + (0 if norm.bias is None else norm.bias)
        if last == "scores":
            expected = expected.masked_fill(~torch.isfinite(found), -torch.inf)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        compared.append(hook)
    assert len(compared) >= 19
