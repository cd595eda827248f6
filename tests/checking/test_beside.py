"""`ne.check` beside a reference: what a reference may be, how it is left, and what differences of dtype are."""

from __future__ import annotations

import copy
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import neuron_explainer as ne
from benchmarks.small_models import number_tokenizer
from helpers.installed_transformers import model_of
from helpers.tiny_models import HF_CONFIGS, hf_model, our_model
from neuron_explainer.checking.alone import windows
from neuron_explainer.checking.alone.neighbours import with_config
from neuron_explainer.checking.beside import implementations as of_attention
from neuron_explainer.checking.beside.evaluation import evaluating, used_by_one_check
from neuron_explainer.checking.beside.given_reference import Reference, reference_of
from neuron_explainer.checking.beside.long_prompts import long_prompt_beside
from neuron_explainer.checking.beside.padded import batch_beside
from neuron_explainer.checking.beside.same_model import same_model
from neuron_explainer.checking.comparison import PlaceDifference
from neuron_explainer.checking.copies import can_be_copied
from neuron_explainer.checking.findings import Where
from neuron_explainer.checking.probes import random_probe
from neuron_explainer.checking.report import CheckReport
from neuron_explainer.checking.routers import settled
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.layers.unfilled import fill
from neuron_explainer.vocabulary.places import ActivationLocationType as Place

LOW = torch.bfloat16


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def lowered_whole(name: str, to: Any) -> Any:
    """A copy of which all that is floating was sent there, tables as well."""
    theirs: Any = copy.deepcopy(hf_model(name))
    return theirs.to(to)


def said_of(report: CheckReport, check: str) -> list[str]:
    return [each.said for each in report.findings if each.check == check]


@pytest.mark.parametrize("name", [name for name in HF_CONFIGS if our_model(name).config.n_experts])
def test_experts_of_a_reference_from_a_folder(name: str, tmp_path: Path, offline: None) -> None:
    hf_model(name).save_pretrained(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    before = getattr(theirs.config, "_experts_implementation", None)
    for reference in (theirs, tmp_path):
        report = ne.check(our_model(name), reference)
        assert report.failed == []
        assert said_of(report, "every place beside the reference")[0].endswith("in float64.")
    assert getattr(theirs.config, "_experts_implementation", None) == before


def test_dropout_is_off_and_each_module_has_its_mode_again() -> None:
    config = copy.deepcopy(HF_CONFIGS["gpt2"])
    config.resid_pdrop = config.attn_pdrop = config.embd_pdrop = 0.1
    theirs = model_of(config)
    theirs.load_state_dict(hf_model("gpt2").state_dict())
    theirs.train()
    theirs.transformer.h[1].eval()
    modes = [module.training for module in theirs.modules()]
    assert ne.check(our_model("gpt2"), theirs).failed == []
    assert [module.training for module in theirs.modules()] == modes


def test_what_interrupts_a_pass_leaves_the_attention_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = copy.deepcopy(hf_model("gpt2"))

    def interrupted(hf_model: Any, probe: Any) -> None:
        assert hf_model.config._attn_implementation == "sdpa"
        raise KeyboardInterrupt

    monkeypatch.setattr(of_attention, "their_logits", interrupted)
    monkeypatch.setattr(of_attention, "_IMPLEMENTATIONS", ("sdpa",))
    with pytest.raises(KeyboardInterrupt):
        ne.check(our_model("gpt2"), theirs)
    assert theirs.config._attn_implementation == "eager"
    assert not theirs.training


def test_where_a_router_may_flip_the_middle_token_counts() -> None:
    real = torch.tensor([[True, True, True, False]])
    apart = PlaceDifference(Where(Place.LOGITS), 0.9, 1, 1, torch.tensor([[0.1, 0.9, 0.2, 5.0]]))
    dense, sparse = our_model("llama").config, our_model("mixtral").config
    assert settled(apart, dense, LOW, real).relative == 0.9
    assert settled(apart, sparse, torch.float64, real).relative == 0.9
    assert settled(apart, sparse, LOW, real).relative == pytest.approx(0.2)


@pytest.mark.parametrize("name", ["llama", "gptj", "gemma2", "gemma3_text"])
def test_tables_stay_exact_where_weights_are_rounded_and_are_made_exact_again(name: str) -> None:
    lowered = Reference(hf_model(name), name).in_dtype(LOW)
    assert lowered.dtype == LOW
    assert lowered.low_frequencies is None
    plain = lowered_whole(name, LOW)
    report = ne.check(our_model(name).to(LOW), plain)
    assert report.failed == []
    (said,) = said_of(report, "rotary frequencies of the reference")
    assert said.startswith("They are bfloat16, because the reference was made with .half()")
    assert ("Nothing else" in said) == report.places_not_compared == (not report.ok) == (name == "gptj")
    assert next(plain.parameters()).dtype == LOW


def test_weights_of_another_dtype_are_said_once() -> None:
    for ours, theirs in ((LOW, torch.float32), (torch.float32, LOW)):
        report = ne.check(our_model("llama").to(ours), Reference(hf_model("llama"), "").in_dtype(theirs).model)
        assert report.failed == []
        (said,) = said_of(report, "dtype of the reference's weights")
        assert said.endswith("Both are compared with weights that are rounded to bfloat16.")
        assert report.places is not None


def test_a_model_with_a_replaced_method_is_not_copied() -> None:
    model, theirs = our_model("llama"), hf_model("llama")
    assert all(can_be_copied(hf_model(name)) and can_be_copied(our_model(name)) for name in HF_CONFIGS)
    mlp = model.blocks[1].mlp
    forward = mlp.forward
    object.__setattr__(mlp, "forward", lambda hidden, *more: 1.2 * forward(hidden, *more))
    report = ne.check(model, theirs)
    assert report.first_difference is not None
    assert "a method of the model was replaced" in str(report)
    assert (report.first_difference.place, report.first_difference.layer) == (Place.RESID_DELTA_MLP, 1)
    stopped = ne.check(model, Reference(theirs, "").in_dtype(LOW).model)
    assert "Nothing else is compared" in said_of(stopped, "dtype of the reference's weights")[0]
    assert not stopped.ok
    assert stopped.verdict.endswith("The places were not compared with the reference's")


def test_checks_with_one_reference_wait_for_each_other() -> None:
    theirs, order = hf_model("gpt2"), []
    waits = threading.Event()

    def second() -> None:
        waits.set()
        with used_by_one_check(theirs), evaluating(theirs, "sdpa"):
            order.append("second")

    other = threading.Thread(target=second)
    with used_by_one_check(theirs), evaluating(theirs):
        other.start()
        waits.wait()
        other.join(0.05)
        order.append("first")
    other.join()
    assert order == ["first", "second"]


def test_two_threads_check_with_one_reference() -> None:
    model, theirs = our_model("gpt2"), copy.deepcopy(hf_model("gpt2"))
    reports: list[CheckReport] = []
    threads = [threading.Thread(target=lambda: reports.append(ne.check(model, theirs))) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert [report.failed for report in reports] == [[], []]
    assert theirs.config._attn_implementation == "eager"


def test_references_that_are_refused_in_words(tmp_path: Path, offline: None) -> None:
    model = our_model("gpt2")
    hf_model("gpt2").save_pretrained(tmp_path)
    without = tmp_path / "without"
    weights = {name: tensor for name, tensor in hf_model("gpt2").state_dict().items() if "h.1.mlp.c_fc" not in name}
    hf_model("gpt2").save_pretrained(without, state_dict=weights)
    damaged = tmp_path / "damaged"
    hf_model("gpt2").save_pretrained(damaged)
    (damaged / "model.safetensors").write_bytes(b"123")
    refused: list[tuple[Any, str]] = [
        (hf_model("gpt2").transformer, "GPT2Model gives no logits"),
        (lowered_whole("gpt2", "meta"), "not in memory"),
        (damaged, "transformers cannot load"),
        (tmp_path / "config.json", "is a file. Give the folder"),
        (str(tmp_path / "nothing"), "does not exist"),
        ("", "does not exist"),
        (without, r"has no transformer\.h\.1\.mlp\.c_fc\.bias"),
        ("tiny", "is a name of this library"),
        ("smollm2-135m", "Give its hub id 'HuggingFaceTB"),
    ]
    for reference, said in refused:
        with pytest.raises(InvalidRequestError, match=said):
            reference_of(reference, model)


def test_what_was_compiled_is_looked_into() -> None:
    theirs = hf_model("gpt2")
    assert reference_of(torch.compile(theirs, backend="eager"), our_model("gpt2")).model is theirs


def test_a_tokenizer_that_cannot_be_read_is_said(tmp_path: Path, offline: None) -> None:
    hf_model("gpt2").save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"broken": 1}')
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    context = ne.load_model(hf_model("gpt2"), tokenizer=number_tokenizer())
    (said,) = said_of(ne.check(context, tmp_path), "tokens beside the reference")
    assert said.startswith("The reference's tokenizer cannot be read")


def test_the_seed_chooses_the_long_prompt_and_stretched_contexts_count() -> None:
    model, theirs = our_model("phi3"), hf_model("phi3")
    differences = []
    for seed in (1, 2):
        (found,) = long_prompt_beside(model, theirs, seed)
        assert found.status == "passed"
        assert "stretched" in found.said
        differences.append(found.difference)
    assert differences[0] != differences[1]


@pytest.mark.parametrize(
    ("name", "parameter", "row"),
    [("gpt2", "position_embedding", 60), ("gpt2", "embedding", 7), ("qwen2", "embedding", 7)],
)
def test_a_weight_that_no_prompt_uses_is_compared_too(name: str, parameter: str, row: int) -> None:
    model = our_model(name)
    weight = dict(model.named_parameters())[parameter].clone()
    weight[row] += 1
    fill(model, parameter, weight)
    (found,) = (each for each in same_model(model, hf_model(name)) if each.status == "failed")
    assert found.said == f"{parameter} differs in 1 of {len(weight):,} rows, first in {row}."


def test_an_entry_that_no_prompt_shows_is_compared_too() -> None:
    model = our_model("mistral")
    other = with_config(model, sliding_window_by_layer=(5, 60, 5))
    (found,) = (each for each in same_model(other, hf_model("mistral")) if each.status == "failed")
    assert found.said == "Here and in the reference: sliding_window_by_layer is 60 and 5 in layer 1."
    (other_base,) = {each for each in model.config.rotary_by_layer if each is not None}
    other = with_config(model, rotary=None, rotary_by_layer=(replace(other_base, base=123.0),) * 3)
    (found,) = (each for each in same_model(other, hf_model("mistral")) if each.status == "failed")
    assert "rotary_by_layer is halves, 16 channels, base 123, scaling None and" in found.said


@pytest.mark.parametrize("name", HF_CONFIGS)
def test_a_double_model_is_no_fault_beside_one_that_rounds_on_the_way(name: str) -> None:
    report = ne.check(our_model(name).to(torch.float64), lowered_whole(name, torch.float64), progress=False)
    assert report.failed == []


def test_a_reference_without_numbers_is_said_once() -> None:
    theirs = lowered_whole("llama", torch.float32)
    theirs.model.layers[1].mlp.down_proj.weight.data[0, 0] = float("nan")
    report = ne.check(our_model("llama"), theirs)
    assert not report.ok
    assert [each.check for each in report.failed] == ["weights beside the reference"]
    assert "logits are not finite" in said_of(report, "every place beside the reference")[0]


def test_a_long_prompt_that_memory_has_no_room_for_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    model, theirs = our_model("phi3"), hf_model("phi3")
    monkeypatch.setattr(windows, "free_bytes", lambda device: 1000)
    (found,) = long_prompt_beside(model, theirs, 0)
    assert found.status == "not checked"
    assert "GiB are free" in found.said


def test_a_difference_in_a_batch_names_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    model, theirs = our_model("llama"), hf_model("llama")
    forward = model.forward

    def second_is_wrong(tokens: Any, **more: Any) -> Any:
        logits: Any = forward(tokens, **more)
        if len(logits) > 1:
            logits[1, 4] += 1
        return logits

    monkeypatch.setattr(model, "forward", second_is_wrong)
    found = batch_beside("a batch", model, theirs, random_probe(model), 1e-3, "They agree.")
    assert found.where == Where(Place.LOGITS, token=4, prompt=1)
