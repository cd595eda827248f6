"""The numbers of an answer, against the model itself, `transformers`, TransformerLens and the golden numbers."""

import importlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import neuron_explainer as ne
from helpers.derived_scalars import DISTRACTOR, EACH_STRUCTURE, N_LAYERS, PROMPT, TARGET, autoencoders, context, slope
from helpers.tiny_models import HF_CONFIGS, hf_model
from neuron_explainer.activations.derived_scalars.ablations import AblationSpec
from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.derived_scalars.derivation import derive
from neuron_explainer.activations.derived_scalars.indexing import ActivationIndex, NodeIndex
from neuron_explainer.attribution import Attribution, attribute
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D
from neuron_explainer.vocabulary.nodes import NodeType

LAST = len(PROMPT) - 1
SHORT = ("gpt2", "gptj", "llama", "gemma2")
"""The families whose latents are tested every time."""
FOLDER = os.environ.get("NEURON_EXPLAINER_GOLDEN")
MODEL_FOLDERS = sorted(path.parent for path in Path(FOLDER).glob("*/cases.json")) if FOLDER else []
golden = pytest.mark.skipif(not FOLDER, reason="NEURON_EXPLAINER_GOLDEN names no folder of golden numbers")


def asked(family: str, **options: Any) -> Attribution:
    return attribute(context(family), PROMPT, TARGET, DISTRACTOR, **options)


def uncapped_difference(family: str) -> Any:
    """The logit difference before a soft cap, as a loss of `derive`."""
    cap = context(family).get_or_create_model().config.logits_softcap

    def loss(logits: Tensor) -> Tensor:
        own = logits[-1] if cap is None else torch.atanh(logits[-1] / cap) * cap
        return own[TARGET] - own[DISTRACTOR]

    return loss


def value_with(family: str, index: ActivationIndex, value: float, **config: Any) -> float:
    """The metric of the real model when one activation is overwritten."""
    store = derive(
        PROMPT,
        D.LOGITS,
        DstConfig(model_context=context(family), **config),
        loss=uncapped_difference(family),
        ablations=AblationSpec(index, value),
    )
    assert store.loss is not None
    return store.loss


def assert_total_is_the_slope(family: str, row: Any, index: ActivationIndex, **config: Any) -> None:
    """activation × derivative by finite differences of the real model."""
    at = float(row["activation"])
    derivative = slope(lambda value: value_with(family, index, value, **config), at)
    assert float(row["total_effect"]) == pytest.approx(at * derivative, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("family", EACH_STRUCTURE)
def test_total_effects_of_heads_and_neurons_are_slopes_of_the_real_model(family: str) -> None:
    why = asked(family)
    value = value_with(
        family, ActivationIndex("mlp.post_act", 0, (0, 0)), float(why.store.activations(D.MLP_POST_ACT)[0][0, 0])
    )
    assert why.value == pytest.approx(value, rel=1e-9, abs=1e-9)
    for kind, place in (("head", "attn.qk_probs"), ("neuron", "mlp.post_act")):
        rows = why.nodes(3, kinds=kind)
        assert len(rows) == 3
        for node, row in rows.iterrows():
            assert isinstance(node, NodeIndex)
            assert_total_is_the_slope(family, row, ActivationIndex(place, node.layer_index, node.tensor_indices))


@pytest.mark.parametrize("family", EACH_STRUCTURE)
def test_total_effects_of_embeddings_are_slopes_of_the_real_model(family: str) -> None:
    """The whole vector at a token, scaled."""
    why = asked(family)
    row = why.nodes(1, kinds="embedding").iloc[0]
    node = row.name
    assert isinstance(node, NodeIndex)
    (token, _) = node.tensor_indices
    assert isinstance(token, int)
    store = derive(PROMPT, D.RESID_POST_EMBEDDING, why.model)
    vector = store.activations(D.RESID_POST_EMBEDDING)[None][token]
    assert float(row["write_norm"]) == pytest.approx(float(vector.norm()))

    def value_at(factor: float) -> float:
        ablation = ne.TensorAblation(ActivationIndex("resid.post_emb", None, (token, "All")), vector * factor)
        loss = derive(PROMPT, D.LOGITS, why.model, loss=uncapped_difference(family), ablations=ablation).loss
        assert loss is not None
        return loss

    assert float(row["total_effect"]) == pytest.approx(slope(value_at, 1.0), rel=1e-6, abs=1e-9)


_PLACES = (D.RESID_DELTA_MLP, D.RESID_DELTA_ATTN, D.RESID_POST_MLP)


@pytest.mark.parametrize(
    ("family", "place"),
    [
        pytest.param(family.values[0], place, marks=family.marks if family.values[0] in SHORT else pytest.mark.long)
        for family in EACH_STRUCTURE
        for place in _PLACES
    ],
)
def test_total_effects_of_latents_are_slopes_of_the_real_model(family: str, place: D) -> None:
    own = autoencoders(family, place)
    why = asked(family, autoencoders=own)
    rows = why.nodes(2, kinds="latent")
    assert len(rows) == 2
    for node, row in rows.iterrows():
        assert isinstance(node, NodeIndex)
        index = ActivationIndex("online_autoencoder_latent", node.layer_index, node.tensor_indices)
        assert_total_is_the_slope(family, row, index, autoencoder_context=own)


# Direct effects, written down again from the weights and hidden states of `transformers`


def reference_of_gpt2() -> tuple[float, dict[str, Tensor]]:
    """The metric and direct effects of a GPT-2: of parts by name, heads (layer, to, head), neurons (layer, neuron)."""
    model: Any = hf_model("gpt2", torch.float64)
    weights = model.state_dict()
    inner: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(module: Any, arguments: Any, output: Any) -> None:
            inner[name] = output[0] if isinstance(output, tuple) else output

        return hook

    hooks = []
    for layer, block in enumerate(model.transformer.h):
        hooks += [
            block.attn.c_attn.register_forward_hook(keep(f"qkv{layer}")),
            block.mlp.act.register_forward_hook(keep(f"neurons{layer}")),
        ]
    hooks.append(
        model.transformer.ln_f.register_forward_pre_hook(lambda module, arguments: inner.update(last=arguments[0]))
    )
    try:
        output = model(torch.tensor([PROMPT]), output_attentions=True)
    finally:
        for each in hooks:
            each.remove()
    config = model.config
    last = inner["last"][0, -1]
    scale = (last.var(unbiased=False) + config.layer_norm_epsilon).sqrt()
    difference = weights["lm_head.weight"][TARGET] - weights["lm_head.weight"][DISTRACTOR]
    gained = difference * weights["transformer.ln_f.weight"]
    direction = (gained - gained.mean()) / scale
    found = {
        "embedding": weights["transformer.wte.weight"][PROMPT[-1]] @ direction,
        "positions": weights["transformer.wpe.weight"][LAST] @ direction,
        "final norm bias": weights["transformer.ln_f.bias"] @ difference,
    }
    heads, neurons = [], []
    for layer in range(config.n_layer):
        prefix = f"transformer.h.{layer}"
        value = inner[f"qkv{layer}"][0].split(config.n_embd, dim=-1)[2].unflatten(-1, (config.n_head, -1))
        out = weights[f"{prefix}.attn.c_proj.weight"].unflatten(0, (config.n_head, -1))
        written = torch.einsum("thc,hcd->thd", value, out) @ direction
        heads.append(written * output.attentions[layer][0, :, -1].T)
        neurons.append(inner[f"neurons{layer}"][0, -1] * (weights[f"{prefix}.mlp.c_proj.weight"] @ direction))
        found[f"attention bias {layer}"] = weights[f"{prefix}.attn.c_proj.bias"] @ direction
        found[f"MLP bias {layer}"] = weights[f"{prefix}.mlp.c_proj.bias"] @ direction
    logits = output.logits[0, -1]
    return float(logits[TARGET] - logits[DISTRACTOR]), {
        **found,
        "heads": torch.stack(heads),
        "neurons": torch.stack(neurons),
    }


def reference_of_llama() -> tuple[float, dict[str, Tensor]]:
    """The same of a Llama."""
    model: Any = hf_model("llama", torch.float64)
    weights = model.state_dict()
    inner: dict[str, Tensor] = {}
    hooks = []
    for layer, block in enumerate(model.model.layers):

        def value(module: Any, arguments: Any, output: Tensor, layer: int = layer) -> None:
            inner[f"v{layer}"] = output

        def down(module: Any, arguments: Any, layer: int = layer) -> None:
            inner[f"neurons{layer}"] = arguments[0]

        hooks += [
            block.self_attn.v_proj.register_forward_hook(value),
            block.mlp.down_proj.register_forward_pre_hook(down),
        ]
    hooks.append(model.model.norm.register_forward_pre_hook(lambda module, arguments: inner.update(last=arguments[0])))
    try:
        output = model(torch.tensor([PROMPT]), output_attentions=True)
    finally:
        for each in hooks:
            each.remove()
    config = model.config
    d_head = config.hidden_size // config.num_attention_heads
    last = inner["last"][0, -1]
    inverse = (last.square().mean() + config.rms_norm_eps).rsqrt()
    difference = weights["lm_head.weight"][TARGET] - weights["lm_head.weight"][DISTRACTOR]
    direction = difference * weights["model.norm.weight"] * inverse
    found = {"embedding": weights["model.embed_tokens.weight"][PROMPT[-1]] @ direction}
    heads, neurons = [], []
    for layer in range(config.num_hidden_layers):
        prefix = f"model.layers.{layer}"
        of_keys = inner[f"v{layer}"][0].unflatten(-1, (-1, d_head))
        own = of_keys.repeat_interleave(config.num_attention_heads // of_keys.shape[1], dim=1)
        out = weights[f"{prefix}.self_attn.o_proj.weight"].T.unflatten(0, (config.num_attention_heads, -1))
        heads.append(torch.einsum("thc,hcd->thd", own, out) @ direction * output.attentions[layer][0, :, -1].T)
        neurons.append(inner[f"neurons{layer}"][0, -1] * (direction @ weights[f"{prefix}.mlp.down_proj.weight"]))
        for part, name in (("attention", "self_attn.o_proj"), ("MLP", "mlp.down_proj")):
            if f"{prefix}.{name}.bias" in weights:
                found[f"{part} bias {layer}"] = weights[f"{prefix}.{name}.bias"] @ direction
    logits = output.logits[0, -1]
    return float(logits[TARGET] - logits[DISTRACTOR]), {
        **found,
        "heads": torch.stack(heads),
        "neurons": torch.stack(neurons),
    }


@pytest.mark.parametrize(("family", "reference"), [("gpt2", reference_of_gpt2), ("llama", reference_of_llama)])
def test_direct_effects_from_the_weights_and_hidden_states_of_transformers(family: str, reference: Any) -> None:
    value, expected = reference()
    why = asked(family)
    assert why.value == pytest.approx(value, rel=1e-9)
    heads, neurons = expected.pop("heads"), expected.pop("neurons")
    parts = {
        part if layer != layer or layer is None else f"{part} {layer}": effect
        for part, layer, effect in why.parts()
        .astype({"layer": object})
        .where(why.parts().notna(), None)
        .itertuples(index=False)
    }
    for name, effect in expected.items():
        assert parts.pop(name) == pytest.approx(float(effect), rel=1e-9, abs=1e-12), name
    for layer in range(N_LAYERS):
        assert parts.pop(f"attention {layer}") == pytest.approx(float(heads[layer].sum()), rel=1e-9, abs=1e-12)
        assert parts.pop(f"MLP {layer}") == pytest.approx(float(neurons[layer].sum()), rel=1e-9, abs=1e-12)
    assert not parts
    of_pairs = why.nodes(10_000, "direct_effect", kinds="head")
    assert len(of_pairs) == int((heads != 0).sum())
    for node, effect in of_pairs["direct_effect"].items():
        assert isinstance(node, NodeIndex)
        token, to, head = node.tensor_indices
        assert token == LAST
        assert effect == pytest.approx(float(heads[node.layer_index, to, head]), rel=1e-9, abs=1e-12)
    of_neurons = why.nodes(10_000, "direct_effect", kinds="neuron")
    assert len(of_neurons) == int((neurons != 0).sum())
    for node, effect in of_neurons["direct_effect"].items():
        assert isinstance(node, NodeIndex)
        assert effect == pytest.approx(float(neurons[node.layer_index, node.tensor_indices[1]]), rel=1e-9, abs=1e-12)
    whole = why.heads()
    summed = [
        float(heads[layer, :, head].sum()) for layer, head in zip(whole["layer"], whole["component"], strict=True)
    ]
    assert whole["direct_effect"].tolist() == pytest.approx(summed, rel=1e-9, abs=1e-12)


# The golden numbers


def golden_case(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A case, and its expected tensors by what comes after its name."""
    from safetensors.torch import load_file

    case = next(case for case in json.loads((folder / "cases.json").read_text())["cases"] if case["name"] == name)
    expected = load_file(folder / "expected.safetensors")
    return case, {key.partition("|")[2]: tensor for key, tensor in expected.items() if key.split("|")[0] == name}


def asked_of_golden(folder: Path, case: dict[str, Any]) -> Attribution:
    model = ne.load_model(str(folder), device="cpu")
    loss = case["loss"]
    return attribute(model, case["prompt"], loss["target_tokens"], loss.get("distractor_tokens"))


@golden
def test_direct_effects_are_those_of_the_frozen_golden_case() -> None:
    assert MODEL_FOLDERS
    for folder in MODEL_FOLDERS:
        case, expected = golden_case(folder, "logit_diff_ln_f_scale_frozen")
        why = asked_of_golden(folder, case)
        assert why.value == pytest.approx(case["loss_value"], rel=1e-4, abs=1e-5)
        layers = [
            int(key.rpartition("|")[2])
            for key in expected
            if key.startswith("mlp_write_to_final_residual_grad|forward|") and not key.endswith("layers")
        ]
        assert len(layers) >= 2
        for layer in layers:
            found = expected[f"mlp_write_to_final_residual_grad|forward|{layer}"][-1]
            torch.testing.assert_close(why.effects[0].mlp[layer].neurons[0], found, rtol=1e-4, atol=1e-5)
            found = expected[f"unflattened_attn_write_to_final_residual_grad|forward|{layer}"][-1]
            torch.testing.assert_close(why.effects[0].attention[layer].by_pair[0], found, rtol=1e-4, atol=1e-5)


@golden
@pytest.mark.parametrize("name", ["logit_diff", "logit_minus_mean"])
def test_total_effects_are_act_times_grad_of_the_golden_cases(name: str) -> None:
    for folder in MODEL_FOLDERS:
        case, expected = golden_case(folder, name)
        why = asked_of_golden(folder, case)
        assert why.value == pytest.approx(case["loss_value"], rel=1e-4, abs=1e-5)
        compared = 0
        for group in why.groups[0]:
            name_of_type = {
                NodeType.MLP_NEURON: "mlp_act_times_grad",
                NodeType.ATTENTION_HEAD: "unflattened_attn_act_times_grad",
            }.get(group.node_type)
            found = expected.get(f"{name_of_type}|forward|{group.layer}")
            if found is None:
                continue
            torch.testing.assert_close(group.total, found, rtol=1e-4, atol=1e-5)
            compared += 1
        assert compared >= 4


# TransformerLens


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_direct_logit_attribution_of_transformer_lens(family: str) -> None:
    lens = pytest.importorskip("transformer_lens")
    theirs = lens_model(lens, family)
    tokens = torch.tensor([PROMPT])
    logits, cache = theirs.run_with_cache(tokens)
    why = attribute(context(family, torch.float32), PROMPT, TARGET, DISTRACTOR)
    assert why.value == pytest.approx(float(logits[0, -1, TARGET] - logits[0, -1, DISTRACTOR]), rel=1e-4, abs=1e-4)
    # Its weights are as they were, so the final norm's gain is put into the direction, as its own folding does.
    gain = hf_model(family).state_dict()["transformer.ln_f.weight" if family == "gpt2" else "model.norm.weight"]
    direction = (theirs.W_U[:, TARGET] - theirs.W_U[:, DISTRACTOR]) * gain

    def attributed(stack: Tensor) -> Tensor:
        """Components (components, tokens, d_model), with the final norm applied."""
        scaled = cache.apply_ln_to_stack(stack, layer=-1, pos_slice=-1)
        return scaled[..., 0, :] @ direction if scaled.ndim == 3 else scaled @ direction

    heads = attributed(cache.stack_head_results(layer=-1, pos_slice=-1))
    own = why.heads()
    places = own["layer"] * theirs.cfg.n_heads + own["component"]
    assert len(own) == N_LAYERS * theirs.cfg.n_heads
    found = torch.tensor(own["direct_effect"].tolist())
    torch.testing.assert_close(found, heads[places.tolist()].reshape(-1), rtol=1e-4, atol=1e-4)
    components, labels = cache.decompose_resid(layer=-1, pos_slice=-1, return_labels=True)
    by_label = dict(zip(labels, attributed(components).reshape(-1).tolist(), strict=True))
    parts = why.parts()

    def part(name: str, layer: int | None = None) -> float:
        of_layer = parts["layer"].isna() if layer is None else parts["layer"] == layer
        return float(parts[parts["part"].eq(name) & of_layer]["direct_effect"].sum())

    assert by_label["embed"] == pytest.approx(part("embedding"), abs=1e-4)
    if family == "gpt2":
        assert by_label["pos_embed"] == pytest.approx(part("positions"), abs=1e-4)
    for layer in range(N_LAYERS):
        for label, name in (("attn", "attention"), ("mlp", "MLP")):
            both = part(name, layer) + part(f"{name} bias", layer)
            assert by_label[f"{layer}_{label}_out"] == pytest.approx(both, abs=1e-4)


def lens_model(lens: Any, family: str) -> Any:
    """TransformerLens' model with the same weights."""
    weight_conversions: Any = importlib.import_module("transformer_lens.pretrained.weight_conversions")
    config, is_gpt2 = HF_CONFIGS[family], family == "gpt2"
    heads = config.num_attention_heads
    of_llama = {
        "n_key_value_heads": getattr(config, "num_key_value_heads", None),
        "rotary_dim": config.hidden_size // heads,
        "rotary_base": getattr(config, "rope_parameters", None) and config.rope_parameters["rope_theta"],
        "gated_mlp": True,
        "final_rms": True,
        "positional_embedding_type": "rotary",
    }
    lens_config = lens.HookedTransformerConfig(
        n_layers=config.num_hidden_layers,
        d_model=config.hidden_size,
        n_heads=heads,
        d_head=config.hidden_size // heads,
        n_ctx=64,
        d_vocab=config.vocab_size,
        d_mlp=getattr(config, "intermediate_size", None) or 4 * config.hidden_size,
        act_fn="gelu_new" if is_gpt2 else "silu",
        eps=config.layer_norm_epsilon if is_gpt2 else config.rms_norm_eps,
        original_architecture="GPT2LMHeadModel" if is_gpt2 else "LlamaForCausalLM",
        normalization_type="LN" if is_gpt2 else "RMS",
        device="cpu",
        **({} if is_gpt2 else of_llama),
    )
    model = lens.HookedTransformer(lens_config)
    convert = weight_conversions.convert_gpt2_weights if is_gpt2 else weight_conversions.convert_llama_weights
    model.load_state_dict(convert(hf_model(family), lens_config), strict=False)
    return model
