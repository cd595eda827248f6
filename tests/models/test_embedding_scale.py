"""The factor of token embeddings: where it is rounded, and where not."""

import pytest
import torch
import transformers

import neuron_explainer as ne
from benchmarks.small_models import SMALL_CONFIGS, number_tokenizer
from helpers.installed_transformers import IS_OLD
from neuron_explainer.vocabulary.places import ActivationLocationType as P
from neuron_explainer.vocabulary.weights import WeightLocationType

pytestmark = pytest.mark.skipif(IS_OLD, reason="transformers before 5 rounds to float32 elsewhere")


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("family", ["granite", "gemma2"])
def test_scaled_embeddings_are_those_of_transformers_to_the_last_digit(family: str, dtype: torch.dtype) -> None:
    own = {"embedding_multiplier": 0.1} if family == "granite" else {}
    entries = {**SMALL_CONFIGS[family], **own}
    torch.manual_seed(0)
    theirs = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**entries)).to(dtype)
    model = ne.load_model(theirs, tokenizer=number_tokenizer())
    tokens = torch.arange(61)[None]
    expected = theirs(tokens, output_hidden_states=True).hidden_states[0].detach()
    with model.record(P.RESID_POST_EMBEDDING) as recording:
        model.get_or_create_model()(tokens)
    assert torch.equal(recording[P.RESID_POST_EMBEDDING], expected)
    assert torch.equal(model.get_weight(WeightLocationType.EMBEDDING), expected[0])
