"""`ne.check`: its report, what it could not check, what it leaves as it was, and what it refuses."""

import copy
import threading
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
import transformers
from tokenizers.processors import TemplateProcessing

import neuron_explainer as ne
from benchmarks.small_models import number_tokenizer
from helpers.html_reading import assert_harmless
from helpers.tiny_models import hf_model, our_model
from neuron_explainer.checking import copies
from neuron_explainer.checking.alone.neighbours import nearby_configs, with_config
from neuron_explainer.checking.alone.token_rules import token_rules
from neuron_explainer.checking.alone.traps import TRAPS, known_traps, version_numbers
from neuron_explainer.checking.alone.weights import sound_weights
from neuron_explainer.checking.beside.tokenizers import tokens_beside
from neuron_explainer.checking.comparison import difference_at, in_order
from neuron_explainer.checking.findings import Where
from neuron_explainer.checking.report import CheckReport
from neuron_explainer.errors import InvalidRequestError, ModelCheckError, StoppedError
from neuron_explainer.models import beginning, model_context
from neuron_explainer.models.layers.attention import Attention
from neuron_explainer.models.layers.unfilled import fill
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.models.watching import watched_passes
from neuron_explainer.vocabulary.places import ActivationLocationType as Place


@pytest.fixture(scope="module")
def alone() -> CheckReport:
    return ne.check("tiny")


@pytest.fixture(scope="module")
def beside() -> CheckReport:
    return ne.check(our_model("llama"), hf_model("llama"))


def test_a_model_that_is_right_passes_alone(alone: CheckReport) -> None:
    assert alone.ok
    assert alone.first_difference is None
    checks = [each.check for each in alone.findings]
    assert {"formulas", "gradients", "interventions", "cache against none", "padding against none", "threads"} <= set(
        checks
    )
    assert [each.check for each in alone.not_checked] == ["chats"]  # tiny has no chat template


def test_the_report_as_text_table_and_page(alone: CheckReport, beside: CheckReport) -> None:
    text = str(alone)
    assert text.startswith("tiny: ")
    assert "1 could not be made" in text
    table = alone.to_dataframe()
    assert len(table) == len(alone.findings)
    assert set(table["status"]) == {"passed", "not checked"}
    for report in (alone, beside):
        page = assert_harmless(report._repr_html_()).text
        assert report.verdict in page
        assert all(each.check in page for each in report.findings)
    assert "Places that are farthest apart" in beside._repr_html_()


def test_a_report_beside_a_reference(beside: CheckReport) -> None:
    assert beside.ok
    assert beside.places is not None
    assert len(beside.places) == len(in_order(3))
    assert beside.places["relative"].max() < 1e-5
    assert beside.precision is not None
    assert set(beside.precision["dtype"]) == {"float32"}
    assert (beside.precision["here"] < 1e-5).all()
    assert any(each.check == "attention by sdpa" for each in beside.findings)


def test_every_dtype_where_it_is_thorough() -> None:
    report = ne.check(our_model("gpt2"), hf_model("gpt2"), thorough=True)
    assert report.ok
    assert report.precision is not None
    costs = report.precision[report.precision["place"] == "logits"].set_index("dtype")["here"]
    assert costs["float32"] < costs["float16"] < costs["bfloat16"]


def test_windows_that_are_longer_than_the_prompts_are_said_and_looked_at_where_it_is_thorough() -> None:
    config = copy.deepcopy(hf_model("mistral").config)
    config.sliding_window = 40
    theirs = transformers.AutoModelForCausalLM.from_config(config)
    model = ne.load_model(theirs, tokenizer=number_tokenizer())
    report = ne.check(model)
    assert report.ok
    assert "windows of 40 are longer" in str(report)
    whole = ne.check(model, theirs, thorough=True)
    assert whole.ok, str(whole)
    assert "In layer 0, no token attends farther back than 40 tokens." in str(whole)
    assert "The last of 48 tokens" in str(whole)
    transformer = model.get_or_create_model()
    transformer.blocks[0].attention.window = 42
    (found, *_) = [each for each in ne.check(transformer, thorough=True).failed if each.check == "sliding windows"]
    assert found.where is not None
    assert (found.where.layer, found.where.token) == (0, 40)


def test_an_intervention_that_is_active_is_refused() -> None:
    model = our_model("gpt2")
    with model.intervene("mlp_post_act", 1, torch.zeros_like):
        model(torch.tensor([[1, 2]]))
        with pytest.raises(InvalidRequestError, match="contexts first"):
            ne.check(model)


def test_where_memory_is_short_places_are_compared_in_the_model_s_own_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "free_bytes", lambda device: 1000)
    report = ne.check(our_model("llama"), hf_model("llama"))
    assert report.ok
    assert "0.0 GiB are free" in str(report)
    assert "agree, in float32" in str(report)


def test_the_reference_is_left_as_it_was() -> None:
    theirs = hf_model("llama")
    before = {name: weight.clone() for name, weight in theirs.state_dict().items()}
    n_hooks = sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in theirs.modules())
    theirs.train()
    try:
        assert ne.check(our_model("llama"), theirs).ok
        assert theirs.training
    finally:
        theirs.eval()
    assert theirs.config._attn_implementation == "eager"
    assert sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in theirs.modules()) == n_hooks
    assert next(theirs.parameters()).dtype == torch.float32
    assert all(torch.equal(weight, theirs.state_dict()[name]) for name, weight in before.items())


def test_the_model_is_left_as_it_was() -> None:
    model = our_model("gpt2")
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    ne.check(model)
    assert model.dtype == torch.float32
    assert model.active_interventions == []
    assert all(torch.equal(weight, model.get_parameter(name)) for name, weight in before.items())


def test_a_reference_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hf_model("qwen2").save_pretrained(tmp_path)
    report = ne.check(our_model("qwen2"), tmp_path)
    assert report.ok, str(report)
    assert report.reference == str(tmp_path)
    with pytest.raises(InvalidRequestError, match="does not exist"):
        ne.check(our_model("qwen2"), tmp_path / "nothing")


def test_other_tokens_than_the_reference_s_are_found() -> None:
    context = ne.load_model(hf_model("gpt2"), tokenizer=number_tokenizer())

    def theirs(text: str) -> dict[str, list[int]]:
        return {"input_ids": context.encode(text)}

    def one_more(text: str) -> dict[str, list[int]]:
        return {"input_ids": [0, *context.encode(text)]}

    assert [each.status for each in tokens_beside(context, theirs)] == ["passed"]
    (found,) = tokens_beside(context, one_more)
    assert found.status == "failed"
    assert "in the reference" in found.said
    assert [each.status for each in tokens_beside(context, None)] == ["not checked"]


def test_a_model_that_cannot_run_is_a_failed_check() -> None:
    model = our_model("gpt2")
    fill(model, "blocks.1.mlp.output_bias", torch.zeros(5))
    report = ne.check(model)
    assert not report.ok
    assert report.failed[0].check == "a pass with recordings"
    assert "There is no pass to look at" in str(report)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("blocks.2.attention.output_weight", lambda w: w.index_fill(0, torch.tensor([3]), torch.nan), "not finite"),
        ("blocks.1.mlp.input_weight", lambda w: torch.full_like(w, 0.5), "has 0.5 everywhere"),
    ],
)
def test_weights_that_are_not_finite_or_all_the_same(name: str, change: Any, said: str) -> None:
    model = our_model("gpt2")
    assert [each.status for each in sound_weights(model)] == ["passed"]
    fill(model, name, change(model.get_parameter(name).detach()))
    (found,) = sound_weights(model)
    assert found.status == "failed"
    assert name in found.said
    assert said in found.said


def test_a_second_beginning_token_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    words = {f"t{number}": number for number in range(61)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="t0"))
    tokenizer.post_processor = TemplateProcessing(single="t5 $A", special_tokens=[("t5", 5)])
    context = ne.load_model(hf_model("gpt2"), tokenizer=tokenizer)
    assert {each.status for each in token_rules(context)} <= {"passed", "not checked"}
    encoded = beginning.encoded

    def doubled(*arguments: Any) -> tuple[list[int], int]:
        ids, n_added = encoded(*arguments)
        return [ids[0], *ids], n_added

    monkeypatch.setattr(model_context, "encoded", doubled)
    (found,) = [each for each in token_rules(context) if each.status == "failed"]
    assert "twice" in found.said


def test_known_faults_of_versions_are_data() -> None:
    assert version_numbers("2.8.0a0+git1234") == (2, 8, 0)
    bad = list(known_traps(torch.device("mps"), torch.float32, {"torch": "2.8.0"}))
    assert [each.status for each in bad] == ["not checked"] * len(bad)
    assert "pytorch/pytorch#163597" in bad[0].said
    (fine,) = known_traps(torch.device("mps"), torch.float32, {"torch": "2.12.0"})
    assert fine.status == "passed"
    assert not list(known_traps(torch.device("cpu"), torch.float32, {"torch": "2.8.0"}))
    assert all(trap.before is None or trap.since < trap.before for trap in TRAPS)


def test_a_difference_counts_by_what_is_at_the_token() -> None:
    real = torch.tensor([[True, True, False]])
    ours = torch.tensor([[[1000.0, 1.0], [2.0, 4.0], [9.0, 9.0]]])
    theirs = torch.tensor([[[1000.0, 1.5], [2.0, 3.0], [0.0, 0.0]]])
    found = difference_at((Place.RESID_POST_MLP, 1), ours, theirs, real)
    assert found.where == Where(Place.RESID_POST_MLP, 1, 1)
    assert found.relative == pytest.approx(1 / 3)
    assert found.absolute == 1
    infinite = difference_at((Place.RESID_POST_MLP, 1), ours, theirs.masked_fill(theirs == 3.0, torch.nan), real)
    assert infinite.relative == float("inf")
    assert infinite.first_beyond(0.1).token == 1
    far = difference_at((Place.RESID_POST_MLP, 1), ours, theirs + 1, torch.ones_like(real), first_token=5)
    assert far.where.token == 7
    assert far.first_beyond(1e-6).token == 5
    assert far.first_beyond(0.2).token == 6


def test_a_checked_model_is_given_and_one_with_a_fault_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ne.load_model("tiny", device="cpu", check=True).n_layers == 4
    monkeypatch.setattr(Attention, "repeated", lambda self, heads: heads.flip(2))
    with pytest.raises(ModelCheckError, match="does not pass") as refused:
        ne.load_model("tiny", device="cpu", check=True)
    assert refused.value.report.first_difference.place is Place.ATTN_KEY


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "With none of 7 other configs"),
        ({"norm_gain_offset": 1.0}, "With another offset of gains"),
        ({"activation_function": "silu"}, "With gelu_new as activation function"),
        ({"parallel_residual": True}, "With attention and MLP in the other order"),
        ({"attention_scale_by_layer": (1.0,) * 4}, "With attention scaled by 0.177"),
        ({"embedding_scale": 8.0}, "With an embedding scaled by 1,"),
    ],
)
def test_a_wrong_config_predicts_texts_worse_than_a_right_one_beside_it(changes: dict[str, Any], said: str) -> None:
    tiny = ne.load_model("tiny", device="cpu")
    model = with_config(tiny.get_or_create_model(), **changes)
    (found,) = nearby_configs(ne.StandardModelContext("changed", model, tiny.tokenizer))
    assert found.status == ("failed" if changes else "passed")
    assert found.said.startswith(said)


def test_a_model_that_predicts_no_text_has_no_nearby_configs_to_tell_apart() -> None:
    tiny = ne.load_model("tiny", device="cpu")
    model = Transformer.with_random_weights(tiny.get_or_create_model().config)
    (found,) = nearby_configs(ne.StandardModelContext("random", model, tiny.tokenizer))
    assert found.status == "not checked"
    assert "nearby configs" in [each.check for each in ne.check(tiny, thorough=True).findings]


def test_it_can_be_stopped() -> None:
    stop = threading.Event()
    stop.set()
    with watched_passes(stop=stop), pytest.raises(StoppedError):
        ne.check("tiny")


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (("no-such-model",), {}, "no-such-model"),
        ((3,), {}, "not a model"),
        (("tiny", "x", "y"), {}, "positional"),
        (("tiny",), {"thorough": "yes"}, "thorough"),
        (("tiny",), {"seed": -1}, "seed"),
        (("tiny", 7), {}, "in memory, not int"),
    ],
)
def test_wrong_arguments(arguments: tuple[Any, ...], options: dict[str, Any], said: str) -> None:
    with pytest.raises((ne.errors.NeuronExplainerError, TypeError), match=said):
        ne.check(*arguments, **options)


def test_another_model_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="model_type is llama here and gpt2"):
        ne.check(our_model("llama"), hf_model("gpt2"))


def test_the_older_name_is_told() -> None:
    with pytest.warns(DeprecationWarning, match=r"ne\.check"):
        ne.check_parity(our_model("gpt2"), hf_model("gpt2"))
