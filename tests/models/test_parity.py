"""Every place of every family agrees with `transformers`; the comparison would notice if it did not."""

from typing import Any

import pytest
import torch
import transformers

import neuron_explainer as ne
from benchmarks.small_models import SMALL_CONFIGS, number_tokenizer
from helpers.installed_transformers import IS_OLD
from helpers.tiny_models import ALLOWED, HF_CONFIGS, hf_model, our_model, random_tokens
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.vocabulary.places import ActivationLocationType

P = ActivationLocationType
pytestmark = pytest.mark.filterwarnings("ignore:check_parity is an older name")


def parity(name: str, dtype: torch.dtype) -> Any:
    """The comparison of a model, or a skip where an old transformers computes attention within the model's own code."""
    try:
        return ne.check_parity(our_model(name, dtype), hf_model(name, dtype))
    except InvalidRequestError as error:
        if not IS_OLD:
            raise
        pytest.skip(f"transformers {transformers.__version__}: {error}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", HF_CONFIGS)
def test_every_place_agrees_with_transformers(name: str, dtype: torch.dtype) -> None:
    table = parity(name, dtype)
    assert set(table.place) == {place.value for place in P if not place.is_online_autoencoder_place}
    assert len(table) == 4 + 16 * 3
    allowed = ALLOWED[dtype]
    too_far = table[~(table.largest_difference <= allowed)]
    assert too_far.empty, f"\n{too_far}"
    assert (table.largest_magnitude > 1e-3).all()


def test_a_difference_in_one_weight_shows_where_it_arises() -> None:
    model = our_model("gpt2")
    weight = model.blocks[1].mlp.input_bias
    assert isinstance(weight, torch.Tensor)
    weight.data = weight.data + 0.5  # a new tensor: the old one is also the reference's
    table = ne.check_parity(model, hf_model("gpt2")).set_index(["place", "layer"]).largest_difference
    assert table[P.MLP_PRE_ACT.value, 1] == pytest.approx(0.5, abs=1e-5)
    assert table[P.MLP_PRE_ACT.value, 0] < 1e-4
    assert table[P.RESID_POST_ATTN.value, 1] < 1e-4
    assert table[P.RESID_POST_MLP.value, 1] > 0.01


def test_the_reference_is_left_as_it_was() -> None:
    theirs = hf_model("llama")
    n_hooks = sum(len(module._forward_hooks) for module in theirs.modules())
    theirs.train()
    try:
        ne.check_parity(our_model("llama"), theirs, tokens=random_tokens(1, 5))
        assert theirs.training
    finally:
        theirs.eval()
    assert theirs.config._attn_implementation == "eager"
    assert sum(len(module._forward_hooks) for module in theirs.modules()) == n_hooks


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="not str"):
        ne.check_parity("gpt2", hf_model("gpt2"))
    with pytest.raises(InvalidRequestError, match="Give tokens"):
        ne.check_parity(our_model("gpt2"), hf_model("gpt2"), attention_mask=torch.ones(1, 3, dtype=torch.bool))


def test_another_model_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="transformers model in memory, not str"):
        ne.check_parity(our_model("gpt2"), "gpt2")
    with pytest.raises(InvalidRequestError, match="model_type is llama here and gpt2"):
        ne.check_parity(our_model("llama"), hf_model("gpt2"))
    with pytest.raises(InvalidRequestError, match="n_key_value_heads is 2 here and 1"):
        ne.check_parity(our_model("llama"), hf_model("llama_3"))


def test_a_square_matrix_with_its_inputs_first_is_compared_the_right_way_round() -> None:
    entries = {**SMALL_CONFIGS["gpt2"], "n_inner": 32}
    theirs = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**entries))
    table = ne.check_parity(ne.load_model(theirs, tokenizer=number_tokenizer()), theirs)
    assert table["largest_difference"].max() < 1e-4
