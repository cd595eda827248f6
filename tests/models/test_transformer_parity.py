"""Logits agree with `transformers` at several lengths, padded or not, in every dtype; GPT-2 with golden numbers."""

import json
import os
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from helpers.tiny_models import ALLOWED, HF_CONFIGS, ONE_OF_EACH_FAMILY, hf_model, our_model, random_tokens
from neuron_explainer.errors import PromptError
from neuron_explainer.models.layers.token_checks import check_tokens, padded
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType

P = ActivationLocationType


@pytest.mark.parametrize("name", HF_CONFIGS)
@pytest.mark.parametrize("n_tokens", [1, 2, 17, 64])
def test_logits_agree_with_transformers(name: str, n_tokens: int) -> None:
    for dtype, allowed in ALLOWED.items():
        tokens = random_tokens(2, n_tokens, seed=n_tokens)
        theirs = hf_model(name, dtype)(tokens).logits
        torch.testing.assert_close(our_model(name, dtype)(tokens), theirs, rtol=0, atol=allowed)


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_padding_changes_nothing_for_real_tokens(name: str) -> None:
    model = our_model(name, torch.float64)
    prompts = [random_tokens(1, length, seed=length)[0].tolist() for length in (11, 4, 7)]
    tokens, mask = padded(prompts)
    theirs = hf_model(name, torch.float64)(tokens, attention_mask=mask).logits
    with model.record([P.ATTN_QK_PROBS, P.RESID_POST_MLP]) as recording:
        together = model(tokens, attention_mask=mask)
    torch.testing.assert_close(together[mask], theirs[mask], rtol=0, atol=ALLOWED[torch.float64])
    assert all(tensor.isfinite().all() for tensor in recording.values())
    last = model(tokens, attention_mask=mask, logits_at="last")
    for row, prompt in enumerate(prompts):
        alone = model(torch.tensor([prompt]))
        torch.testing.assert_close(together[row, : len(prompt)], alone[0])
        torch.testing.assert_close(last[row, 0], alone[0, -1])


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_attention_patterns_agree_with_what_transformers_hands_out(name: str) -> None:
    tokens = random_tokens(2, 9)
    model = our_model(name)
    with model.record(P.ATTN_QK_PROBS) as recording:
        model(tokens)
    theirs = hf_model(name)(tokens, output_attentions=True).attentions
    for layer, pattern in enumerate(theirs):
        torch.testing.assert_close(recording[P.ATTN_QK_PROBS, layer], pattern.permute(0, 2, 3, 1), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_lower_precision_stays_near_and_recording_does_not_change_it(name: str, dtype: torch.dtype) -> None:
    tokens = random_tokens(2, 9)
    model = our_model(name, dtype)
    logits = model(tokens)
    assert logits.dtype == dtype
    exact = our_model(name, torch.float32)(tokens)
    assert (logits.float() - exact).abs().max() < 0.15 * exact.abs().max()
    scales = [P.ATTN_INPUT_LAYER_NORM_SCALE, P.MLP_INPUT_LAYER_NORM_SCALE, P.RESID_FINAL_LAYER_NORM_SCALE]
    with model.record([*scales, P.MLP_POST_ACT]) as recording:
        again = model(tokens)
    torch.testing.assert_close(again, logits, rtol=0.05, atol=0.05)
    assert recording[P.MLP_POST_ACT, 0].dtype == dtype
    assert recording[P.ATTN_INPUT_LAYER_NORM_SCALE, 0].dtype == torch.float32


def test_logits_can_be_asked_for_at_some_positions_only() -> None:
    model = our_model("llama", torch.float64)
    tokens = random_tokens(3, 8)
    everywhere = model(tokens)
    torch.testing.assert_close(model(tokens, logits_at="last"), everywhere[:, -1:])
    positions = torch.tensor([0, 7, 3])
    torch.testing.assert_close(model(tokens, logits_at=positions)[:, 0], everywhere[torch.arange(3), positions])
    assert model(tokens, logits_at=None) is None
    with pytest.raises(ValueError, match="3 prompts"):
        model(tokens, logits_at=torch.tensor([1, 2]))
    for outside in (8, -1):
        with pytest.raises(ValueError, match="from 0 to 7"):
            model(tokens, logits_at=torch.tensor([1, 2, outside]))


def test_what_cannot_be_run_is_refused() -> None:
    model = our_model("gpt2")
    mask = torch.ones(1, 4, dtype=torch.bool)
    for tokens, message in (
        (torch.zeros(1, 0, dtype=torch.long), "at least one"),
        (torch.zeros(4, dtype=torch.long), "batch, tokens"),
        (torch.zeros(1, 65, dtype=torch.long), "65 tokens"),
        (torch.tensor([[1, 61]]), "no token 61"),
        (torch.tensor([[-1, 3]]), "no token -1"),
    ):
        with pytest.raises(PromptError, match=message):
            check_tokens(tokens, 0, model.config.vocab_size, model.config.max_context_length)
    with pytest.raises(PromptError, match="65 tokens"):
        model(torch.zeros(1, 65, dtype=torch.long))
    for wrong, message in (
        (torch.tensor([[False, True, True, True]]), "come last"),
        (torch.zeros(1, 4, dtype=torch.bool), "at least one token"),
    ):
        with pytest.raises(PromptError, match=message):
            model(random_tokens(1, 4), attention_mask=wrong)
    assert model(random_tokens(1, 4), attention_mask=mask).shape == (1, 4, 61)


def test_weights_are_shared_with_the_model_they_come_from() -> None:
    for name in HF_CONFIGS:
        theirs, ours = hf_model(name), our_model(name)
        of_text = [tensor for key, tensor in theirs.named_parameters() if not re.search("vision|multi_modal", key)]
        storages = {parameter.untyped_storage().data_ptr() for parameter in of_text}
        assert {parameter.untyped_storage().data_ptr() for parameter in ours.parameters()} == storages
        assert not any(parameter.requires_grad for parameter in ours.parameters())


def test_weights_can_be_cast_and_the_model_moved() -> None:
    theirs = hf_model("gpt2")
    cast = Transformer.from_hf_config_and_tensors(theirs.config.to_dict(), theirs.state_dict(), dtype=torch.bfloat16)
    assert cast.dtype == torch.bfloat16
    assert cast.device == torch.device("cpu")
    assert theirs.dtype == torch.float32
    tokens = random_tokens(1, 5)
    torch.testing.assert_close(
        cast.to(torch.float64)(tokens), our_model("gpt2", torch.float64)(tokens), rtol=0.1, atol=0.2
    )


def golden_models() -> list[Path]:
    folder = os.environ.get("NEURON_EXPLAINER_GOLDEN")
    return sorted(path.parent for path in Path(folder).glob("*/cases.json")) if folder else []


@pytest.mark.skipif(not golden_models(), reason="NEURON_EXPLAINER_GOLDEN names no folder with golden models")
def test_gpt2_agrees_with_golden_numbers() -> None:
    place_by_name = {place.name.lower(): place for place in P}
    n_compared = 0
    for folder in golden_models():
        expected = load_file(folder / "expected.safetensors")
        config = json.loads((folder / "config.json").read_text())
        model = Transformer.from_hf_config_and_tensors(config, load_file(folder / "model.safetensors"))
        cases = json.loads((folder / "cases.json").read_text())["cases"]
        prompt = next(case["tokens"] for case in cases if case["name"] == "forward")
        with model.record([place for place in P if not place.is_online_autoencoder_place]) as recording:
            model(torch.tensor([prompt]))
        for key, numbers in expected.items():
            case, name, pass_type, layer = key.split("|")
            if case != "forward" or pass_type != "forward" or layer == "layers" or name not in place_by_name:
                continue
            found = recording[place_by_name[name], None if layer == "none" else int(layer)][0]
            torch.testing.assert_close(found, numbers, rtol=1e-4, atol=1e-5, msg=key)
            n_compared += 1
    assert n_compared >= 90
