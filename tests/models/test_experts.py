"""Mixtures of experts: which neuron is whose, what the router's weight does, and that only chosen experts are kept."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import neuron_explainer as ne
from benchmarks.small_models import SMALL_CONFIGS, number_tokenizer
from helpers.derived_scalars import PROMPT, context, derived
from helpers.installed_transformers import IS_OLD
from helpers.tiny_models import hf_model, our_model, random_tokens
from neuron_explainer.errors import MalformedStoreError, MisconfiguredError, UnsupportedCheckpointError
from neuron_explainer.models.families.registry import family_and_config
from neuron_explainer.models.layers.dense_by_layer import DenseByLayer
from neuron_explainer.models.layers.experts import MixtureOfExperts
from neuron_explainer.models.layers.routed import RoutedTensor
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D
from neuron_explainer.vocabulary.places import ActivationLocationType as P

FAMILIES = ["mixtral", "qwen3_moe", "olmoe", "gpt_oss"]


def chosen(model: Transformer, layer: int, recording: Any) -> torch.Tensor:
    """Which neurons' experts the router chose, (batch, tokens, neurons)."""
    mixture = model.blocks[layer].mlp
    assert isinstance(mixture, MixtureOfExperts)
    experts, _ = mixture.route(recording[P.RESID_POST_ATTN_LAYER_NORM, layer])
    by_expert = torch.zeros(*experts.shape[:2], mixture.n_experts, dtype=torch.bool).scatter(-1, experts, True)
    return by_expert.repeat_interleave(mixture.d_expert, dim=-1)


@pytest.mark.parametrize("name", FAMILIES)
def test_neurons_of_experts_that_were_not_chosen_are_zero_before_and_after_the_nonlinearity(name: str) -> None:
    model = our_model(name, torch.float64)
    with model.record([P.MLP_PRE_ACT, P.MLP_POST_ACT, P.RESID_POST_ATTN_LAYER_NORM]) as recording:
        model(random_tokens(2, 7))
    for layer in range(3):
        is_chosen = chosen(model, layer, recording)
        assert is_chosen.double().mean() == model.config.n_chosen_experts / model.config.n_experts
        for place in (P.MLP_PRE_ACT, P.MLP_POST_ACT):
            assert recording[place, layer].shape == (2, 7, model.config.d_mlp)
            assert torch.equal(recording[place, layer] != 0, is_chosen)


@pytest.mark.parametrize("name", ["mixtral", "olmoe"])
def test_a_neuron_is_the_routers_weight_times_act_gate_times_up_of_its_expert(name: str) -> None:
    model, layer = our_model(name, torch.float64), 1
    with model.record([P.MLP_PRE_ACT, P.MLP_POST_ACT, P.RESID_POST_ATTN_LAYER_NORM]) as recording:
        model(random_tokens(1, 5))
    read = recording[P.RESID_POST_ATTN_LAYER_NORM, layer][0]
    if IS_OLD:
        pytest.skip("old releases of transformers have a module for each expert")
    theirs: Any = hf_model(name, torch.float64).get_submodule(f"model.layers.{layer}.mlp")
    probabilities = (read @ theirs.gate.weight.T).softmax(-1)
    n_chosen, d_expert = model.config.n_chosen_experts, model.config.d_mlp // model.config.n_experts
    for token in range(5):
        best = probabilities[token].topk(n_chosen)
        total = best.values.sum() if name == "mixtral" else 1
        for weight, expert in zip(best.values / total, best.indices.tolist(), strict=True):
            gate, up = (theirs.experts.gate_up_proj[expert] @ read[token]).split(d_expert)
            own = slice(expert * d_expert, (expert + 1) * d_expert)
            torch.testing.assert_close(recording[P.MLP_PRE_ACT, layer][0, token, own], gate)
            after = torch.nn.functional.silu(gate) * up * weight
            torch.testing.assert_close(recording[P.MLP_POST_ACT, layer][0, token, own], after)


@pytest.mark.parametrize("name", FAMILIES)
def test_an_intervention_on_a_neuron_that_was_not_chosen_has_its_effect(name: str) -> None:
    model, tokens = our_model(name, torch.float64), random_tokens(1, 5)
    with model.record([P.RESID_POST_ATTN_LAYER_NORM, P.RESID_DELTA_MLP, P.MLP_POST_ACT]) as before:
        plain = model(tokens)
    is_chosen = chosen(model, 1, before)[0, 2]
    index = int((~is_chosen).nonzero()[0])

    def write(neurons: torch.Tensor) -> torch.Tensor:
        neurons[:, 2, index] = 0.7
        return neurons

    with model.record([P.RESID_DELTA_MLP, P.MLP_POST_ACT]) as after, model.intervene(P.MLP_POST_ACT, 1, write):
        model(tokens)
    difference = after[P.RESID_DELTA_MLP, 1] - before[P.RESID_DELTA_MLP, 1]
    torch.testing.assert_close(difference[0, 2], 0.7 * model.blocks[1].mlp.output_weight[:, index])
    assert difference[0, [0, 1, 3, 4]].abs().max() == 0
    assert after[P.MLP_POST_ACT, 1][0, 2, index] == 0.7
    with model.intervene(P.MLP_PRE_ACT, 1, write):  # its activation has the router's weight, 0, as a factor
        assert torch.equal(model(tokens), plain)


def test_what_is_kept_is_that_of_the_chosen_experts() -> None:
    entries = {**SMALL_CONFIGS["qwen3_moe"], "num_experts": 64, "num_experts_per_tok": 2, "moe_intermediate_size": 20}
    torch.manual_seed(0)
    theirs = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**entries)).eval()
    model = ne.load_model(theirs, tokenizer=number_tokenizer())
    with model.record([P.MLP_PRE_ACT, P.MLP_POST_ACT], gradients=True) as recording:
        logits = model.get_or_create_model()(torch.tensor([PROMPT]))
        recording.backward(logits[0, -1, 3])
    numbers = len(PROMPT) * 2 * 20
    for place in (P.MLP_PRE_ACT, P.MLP_POST_ACT):
        kept, gradient = recording.kept((place, 1)), recording.kept_gradient(place, 1)
        assert isinstance(kept, RoutedTensor)
        assert isinstance(gradient, RoutedTensor)
        assert kept.numel() == gradient.numel() == numbers
        assert recording[place, 1].shape == (1, len(PROMPT), 64 * 20)
    dsts = [D.MLP_POST_ACT, D.MLP_WRITE_NORM, D.MLP_ACT_TIMES_GRAD, D.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD]
    store = ne.derive(PROMPT, dsts, model, loss=lambda logits: logits[-1, 3])
    for dst in dsts:
        by_layer = store.activations(dst)
        assert isinstance(by_layer, DenseByLayer)
        kept_by_layer = dict(by_layer.kept())
        assert all(tensor.numel() == numbers for tensor in kept_by_layer.values())
        assert {layer: tensor.shape for layer, tensor in by_layer.items()} == dict.fromkeys(range(3), (6, 1280))
        assert dict(by_layer)[1].shape == (6, 1280)
        assert len(store.to_dataframe(dsts=dst)) == 3 * numbers


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("largest", [True, False])
def test_ranking_gives_the_neurons_of_the_layer(name: str, largest: bool) -> None:
    store = derived(name, [D.MLP_ACT_TIMES_GRAD, D.MLP_WRITE])
    for dst in (D.MLP_ACT_TIMES_GRAD, D.MLP_WRITE):
        values, indices = store.topk(30, largest=largest, dsts=dst)
        dense = torch.stack([tensor for _, tensor in sorted(store.activations(dst).items())])
        expected = dense.flatten().topk(30, largest=largest).values
        torch.testing.assert_close(values, expected)
        for value, index in zip(values, indices, strict=True):
            assert store[index] == value


@pytest.mark.parametrize("name", FAMILIES)
def test_sums_over_each_axis_are_those_of_all_neurons(name: str) -> None:
    store = derived(name, D.MLP_WRITE)
    for axis, number in (("tokens", 0), ("neurons", 1), ("residual stream channels", 2)):
        summed = store.sum_over(axis).activations(D.MLP_WRITE)
        for layer, tensor in store.activations(D.MLP_WRITE).items():
            torch.testing.assert_close(summed[layer], tensor.sum(number, keepdim=True))


def test_a_store_is_written_and_read(tmp_path: Path) -> None:
    store = derived("olmoe", [D.MLP_POST_ACT, D.MLP_WRITE, D.RESID_POST_MLP])
    store.save(tmp_path / "store")
    again = ne.DerivedScalarStore.load(tmp_path / "store")
    assert again.contents() == store.contents()
    for dst in store.dsts:
        for layer, tensor in store.activations(dst).items():
            assert torch.equal(again.activations(dst)[layer], tensor)
    assert again.topk(5, dsts=D.MLP_POST_ACT)[1] == store.topk(5, dsts=D.MLP_POST_ACT)[1]


@pytest.mark.parametrize(
    ("experts", "n_experts"),
    [
        (torch.full((6, 2), 6), "6"),
        (torch.full((6, 2), -1), "6"),
        (torch.zeros(6, 3, dtype=torch.int64), "6"),
        (torch.zeros(6, 2), "6"),
        (torch.zeros(6, 2, dtype=torch.int64), "0"),
        (torch.zeros(6, 2, dtype=torch.int64), str(2**40)),
        (torch.zeros(6, 2, dtype=torch.int64), "six"),
    ],
)
def test_a_store_whose_experts_do_not_fit_is_refused(tmp_path: Path, experts: torch.Tensor, n_experts: str) -> None:
    file = tmp_path / "store"
    derived("olmoe", D.MLP_POST_ACT).save(file)
    with safe_open(file, framework="pt") as content:
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118  # it is not a mapping
        metadata = content.metadata()
    old, new = "mlp_post_act|forward|1|6", f"mlp_post_act|forward|1|{n_experts}"
    del tensors[old]
    save_file({**tensors, new: experts}, file, {**metadata, "order": metadata["order"].replace(old, new)})
    with pytest.raises(MalformedStoreError):
        ne.DerivedScalarStore.load(file)


@pytest.mark.parametrize("name", FAMILIES)
def test_folders_have_a_tensor_for_each_expert(name: str, tmp_path: Path) -> None:
    theirs = hf_model(name)
    theirs.save_pretrained(tmp_path)
    in_file = load_file(tmp_path / "model.safetensors")
    by_expert = [tensor for tensor in in_file if re.search(r"experts\.\d", tensor)]
    assert len(by_expert) == (0 if name == "gpt_oss" else 3 * 3 * our_model(name).config.n_experts)
    loaded = ne.load_model(tmp_path, device="cpu", tokenizer=number_tokenizer()).get_or_create_model()
    tokens = random_tokens(2, 9)
    torch.testing.assert_close(loaded(tokens), theirs(tokens).logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "entry", "value"),
    [
        ("qwen3_moe", "mlp_only_layers", [1]),
        ("qwen3_moe", "decoder_sparse_step", 2),
        ("olmoe", "clip_qkv", 8.0),
    ],
)
def test_what_is_not_supported_is_refused_by_name(name: str, entry: str, value: Any) -> None:
    with pytest.raises(UnsupportedCheckpointError, match=entry):
        family_and_config({**SMALL_CONFIGS[name], entry: value})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"n_chosen_experts": 5}, "from 1 to 4"),
        ({"n_chosen_experts": 0}, "from 1 to 4"),
        ({"n_experts": 7}, "evenly"),
        ({"n_experts": -1}, "n_experts"),
        ({"residual_multiplier": 0.5, "mlp_bias": True}, "biases"),
    ],
)
def test_sizes_of_experts_that_do_not_fit_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(MisconfiguredError, match=says):
        dataclasses.replace(our_model("mixtral").config, **changes)


@pytest.mark.parametrize("name", ["olmoe", "gpt_oss"])
def test_a_dataset_of_experts_neurons_is_made(name: str, tmp_path: Path) -> None:
    texts = ["t5 t17 t3 t44", "t20 t1 t9", "t3 t3 t60 t2 t8"]
    ne.collate(context(name), texts, tmp_path / "out", layers=[1], context_length=16, top_k=2, random_k=1)
    model = context(name).get_or_create_model()
    highest = torch.full((model.config.d_mlp,), -torch.inf, dtype=torch.float64)
    for text in texts:
        with model.record([(P.MLP_POST_ACT, 1)]) as recording:
            model(torch.tensor([[int(word[1:]) for word in text.split()]]))
        highest = torch.maximum(highest, recording[P.MLP_POST_ACT, 1][0].amax(0))
    for neuron in (0, 11, model.config.d_mlp - 1):
        record = ne.load_neuron(tmp_path / "out", 1, neuron)
        found = max(max(example.activations) for example in record.most_positive_activation_records)
        assert found == pytest.approx(float(highest[neuron]), rel=1e-3, abs=1e-6)
