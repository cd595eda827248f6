"""The numbers of an answer, against the model itself and `transformers`."""

from typing import Any

import pytest
import torch
from torch import Tensor

import neuron_explainer as ne
from helpers.derived_scalars import DISTRACTOR, EACH_STRUCTURE, N_LAYERS, PROMPT, TARGET, autoencoders, context, slope
from helpers.tiny_models import hf_model
from neuron_explainer.activations.derived_scalars.ablations import AblationSpec
from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.derived_scalars.derivation import derive
from neuron_explainer.activations.derived_scalars.indexing import ActivationIndex, NodeIndex
from neuron_explainer.attribution import Attribution, attribute
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D

LAST = len(PROMPT) - 1
SHORT = ("gpt2", "gptj", "llama", "gemma2")
"""The families whose latents are tested every time."""


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


@pytest.mark.filterwarnings("ignore::neuron_explainer.notices.UnchangedByInterventionWarning")
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
