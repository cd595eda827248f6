"""The numbers of an answer, against those of others: the golden numbers, and TransformerLens on the same weights."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import neuron_explainer as ne
from helpers.derived_scalars import DISTRACTOR, N_LAYERS, PROMPT, TARGET, context
from helpers.lens_models import lens_model
from helpers.tiny_models import hf_model
from neuron_explainer.attribution import Attribution, attribute
from neuron_explainer.vocabulary.nodes import NodeType

LAST = len(PROMPT) - 1
FOLDER = os.environ.get("NEURON_EXPLAINER_GOLDEN")
MODEL_FOLDERS = sorted(path.parent for path in Path(FOLDER).glob("*/cases.json")) if FOLDER else []
golden = pytest.mark.skipif(not FOLDER, reason="NEURON_EXPLAINER_GOLDEN names no folder of golden numbers")


def asked(family: str, **options: Any) -> Attribution:
    return attribute(context(family), PROMPT, TARGET, DISTRACTOR, **options)


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
