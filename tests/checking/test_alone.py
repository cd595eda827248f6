"""What a model is checked by without another one: no alarms without a fault, and what cannot be looked at."""

import copy
from typing import Any

import pytest
import torch
import transformers

import neuron_explainer as ne
from benchmarks.small_models import number_tokenizer
from checking import code_mutants
from helpers.tiny_models import HF_CONFIGS, ONE_OF_EACH_FAMILY, hf_model, our_model
from neuron_explainer.checking.alone.neighbours import nearby_configs
from neuron_explainer.checking.alone.patterns import attention_rows
from neuron_explainer.checking.alone.repeated import cached, padding
from neuron_explainer.checking.alone.token_rules import token_rules
from neuron_explainer.checking.check import check
from neuron_explainer.checking.findings import Where
from neuron_explainer.checking.formulas.far_positions import far_positions
from neuron_explainer.checking.formulas.recomputed import recomputed
from neuron_explainer.checking.passes import all_places
from neuron_explainer.checking.probes import random_probe
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.layers.unfilled import fill
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.models.tokenizers.tokenizer import ModelTokenizer
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType as Place


def model_like(name: str, **changes: Any) -> Transformer:
    """A small model with other entries in its config, and larger weights than those that it is made with."""
    config = copy.deepcopy(HF_CONFIGS[name])
    for entry, value in changes.items():
        setattr(config, entry, value)
    torch.manual_seed(1)
    theirs = transformers.AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    for weight in theirs.parameters():
        weight.add_(torch.randn_like(weight) * 0.2)
    return Transformer.from_hf_config_and_tensors(theirs.config.to_dict(), theirs.state_dict())


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_a_tokenizer_without_most_words_leaves_nothing_to_predict(name: str) -> None:
    (found,) = nearby_configs(ne.load_model(hf_model(name), tokenizer=number_tokenizer()))
    assert found.status == "not checked"
    assert "1 different tokens" in found.said


def test_a_model_with_such_a_tokenizer_can_be_checked_as_it_is_loaded() -> None:
    assert ne.load_model(hf_model("gpt2"), tokenizer=number_tokenizer(), check=True).n_layers == 3


def test_a_place_of_zeros_and_neurons_that_are_dead_are_no_fault() -> None:
    model = our_model("gpt2_scaled_by_layer")
    fill(model, "blocks.1.mlp.input_bias", torch.full((model.config.d_mlp,), -50.0))
    for thorough in (False, True):
        assert check(model, thorough=thorough).failed == []
    tiny = ne.load_model("tiny", device="cpu").get_or_create_model()
    for name, weight in list(tiny.blocks[2].named_parameters()):
        if "norm" in name:
            fill(tiny, f"blocks.2.{name}", torch.zeros_like(weight))
    assert check(tiny).failed == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_large_logits_of_attention_are_rounded_and_no_fault(dtype: torch.dtype) -> None:
    tiny = ne.load_model("tiny", device="cpu").get_or_create_model().to(dtype)
    for block in tiny.blocks:
        for name, weight in list(block.attention.named_parameters()):
            if name.startswith("query_weight"):
                fill(block.attention, name, weight * 12)
    assert check(tiny).failed == []


def test_a_pass_that_is_not_finite_is_said_once_and_where() -> None:
    model = our_model("llama")
    weight = dict(model.named_parameters())["blocks.1.mlp.output_weight"].clone()
    weight[0, 0] = float("nan")
    fill(model, "blocks.1.mlp.output_weight", weight)
    report = check(model)
    assert [each.check for each in report.failed] == ["weights", "a pass with recordings"]
    assert report.first_difference is not None
    assert (report.first_difference.place, report.first_difference.layer) == (Place.RESID_DELTA_MLP, 1)


def test_positions_far_from_the_beginning_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_like("llama", max_position_embeddings=512)
    assert [each.status for each in far_positions(model, 160, 0)] == ["passed"]
    code_mutants.positions_late_from(200, monkeypatch.setattr)
    (found,) = far_positions(model, 160, 0)
    assert found.where == Where(Place.ATTN_QUERY, 0, 200)


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe", "olmoe", "gpt_oss"])
def test_shares_that_are_rounded_to_zero_choose_no_expert(name: str) -> None:
    model = our_model(name)
    for parameter, weight in list(model.named_parameters()):
        fill(model, parameter, weight * 30)
    probe = random_probe(model)
    found, *others = recomputed(model, probe, all_places(model, probe))
    assert found.status == "passed"
    assert all(each.check == "formulas of experts" for each in others)  # where no token's choice is certain


def test_where_rounding_chooses_the_experts_their_formulas_say_nothing() -> None:
    model = our_model("mixtral")
    name = "blocks.1.mlp.router_weight"
    fill(model, name, torch.zeros_like(dict(model.named_parameters())[name]))
    report = check(model)
    assert [each.check for each in report.failed] == ["weights"]
    (said,) = (each.said for each in report.not_checked if each.check == "formulas of experts")
    assert "at all tokens of layers 1:" in said


@pytest.mark.parametrize(
    ("name", "dtype", "seed"),  # in each of them a router chooses another expert beside padding, or with a cache
    [("mixtral", torch.bfloat16, 8), ("mixtral", torch.float16, 9), ("qwen3_moe", torch.float16, 15)],
)
def test_routers_that_choose_others_in_low_precision_are_no_fault(name: str, dtype: torch.dtype, seed: int) -> None:
    model = our_model(name).to(dtype)
    probe = random_probe(model, seed=seed)
    recorded = all_places(model, probe)
    found = [*padding(model, probe, recorded), *cached(model, probe, recorded)]
    assert [each.status for each in found] == ["passed", "passed"]


@pytest.mark.parametrize(
    ("name", "changes", "dtype"),
    [
        ("mistral", {"sliding_window": 1}, torch.float32),
        ("llama", {"intermediate_size": 1}, torch.float32),
        ("gpt2", {"vocab_size": 2, "bos_token_id": 0, "eos_token_id": 0}, torch.bfloat16),
        ("gpt2", {"vocab_size": 1, "bos_token_id": 0, "eos_token_id": 0}, torch.bfloat16),
        ("llama", {"vocab_size": 5, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": None}, torch.float16),
        ("gpt2", {"n_positions": 2}, torch.float32),
        ("gpt2", {"n_positions": 1}, torch.bfloat16),
    ],
)
def test_small_sizes_are_no_fault(name: str, changes: dict[str, Any], dtype: torch.dtype) -> None:
    model = model_like(name, **changes).to(dtype)
    assert check(model, thorough=True, progress=False).failed == []


def test_float64_and_a_longer_prompt_are_no_fault() -> None:
    report = check(our_model("llama").double(), thorough=True, progress=False)
    assert report.failed == []
    assert "formulas, 64 tokens" in [each.check for each in report.findings]


@pytest.mark.parametrize(
    "around", [torch.inference_mode, torch.no_grad, lambda: torch.autocast("cpu", dtype=torch.bfloat16)]
)
def test_torch_s_contexts_do_not_matter(around: Any) -> None:
    model = our_model("gpt2")
    with around():
        modes = torch.is_inference_mode_enabled(), torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")
        report = check(model, progress=False)
        assert modes == (torch.is_inference_mode_enabled(), torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"))
    assert report.failed == []


def test_an_open_recording_is_refused_and_left_as_it_is() -> None:
    model = our_model("gpt2")
    with model.record("mlp_post_act") as recording:
        model(torch.tensor([[1, 2]]))
        with pytest.raises(InvalidRequestError, match="open recording"):
            check(model)
        assert recording["mlp_post_act", 0].shape[:2] == (1, 2)
    assert check(model).ok


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda: Transformer(our_model("gpt2").config), "no weights"),
        (lambda: our_model("gpt2").to("meta"), "no weights"),
        (lambda: our_model("gpt2").to(torch.float8_e4m3fn), "float8_e4m3fn"),
    ],
)
def test_models_that_cannot_run_are_refused(model: Any, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        check(model())


@pytest.mark.parametrize("kind", [KeyError, AttributeError, OSError, Exception])
def test_a_tokenizer_that_raises_anything_is_a_failed_check(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **options: Any) -> None:
        raise kind("broken")

    monkeypatch.setattr(ModelTokenizer, "encode", broken)
    report = check(ne.load_model(hf_model("gpt2"), tokenizer=number_tokenizer()), progress=False)
    assert [each.check for each in report.failed] == ["tokens"]
    assert f"It raises {kind.__name__}" in report.failed[0].said


def test_texts_that_never_come_back_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = ne.load_model("tiny", device="cpu")
    monkeypatch.setattr(StandardModelContext, "decode", lambda self, ids: "rubbish")
    (found,) = token_rules(tiny)
    assert found.status == "failed"
    assert found.said == "5 of 5 texts do not come back: 'Once upon a time' comes back as 'rubbish'."


def test_case_and_spaces_may_change_but_no_text_may_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = ne.load_model("tiny", device="cpu")
    decode = StandardModelContext.decode
    monkeypatch.setattr(StandardModelContext, "decode", lambda self, ids: decode(self, ids).upper().strip())
    found, *_ = token_rules(tiny)
    assert found.status == "passed"
    assert "0 of 5 texts come back as they were, 5 but for case, accents or spaces" in found.said
    monkeypatch.setattr(StandardModelContext, "decode", lambda self, ids: decode(self, ids).replace("42", ""))
    found, *_ = token_rules(tiny)
    assert found.said.startswith("1 of 5 texts do not come back: 'naïve façade 42'")


def test_a_negative_weight_of_one_head_is_seen_and_where_it_is() -> None:
    model = our_model("gpt2")
    code_mutants.negative_weights(model, setattr)
    probe = random_probe(model)
    (found,) = [each for each in attention_rows(model, probe, all_places(model, probe)) if each.status == "failed"]
    assert found.check == "who attends to whom"
    assert found.where is not None
    assert (found.where.layer, found.where.token, found.where.prompt) == (1, 2, 0)


def test_a_row_that_does_not_sum_to_1_is_said_with_its_prompt() -> None:
    model = our_model("gpt2")
    probe = random_probe(model)
    recorded = all_places(model, probe)
    recorded[ne.ActivationLocationType.ATTN_QK_PROBS, 2][1, 5] *= 1.1
    (found,) = [each for each in attention_rows(model, probe, recorded) if each.status == "failed"]
    assert found.said.startswith("A row does not sum to 1, first at attn.qk_probs of layer 2 at token 5")
    assert found.where is not None
    assert found.where.prompt == 1
