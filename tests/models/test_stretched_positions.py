"""Rotary embeddings for long contexts: frequencies to the last digit, and longrope's change from short to long."""

from typing import Any

import pytest
import torch
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from benchmarks.small_models import SMALL_CONFIGS
from helpers.tiny_models import our_model, random_tokens
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.families.registry import family_and_config
from neuron_explainer.models.generation.generate import generate
from neuron_explainer.models.layers.key_value_cache import KeyValueCache
from neuron_explainer.models.layers.rotary import inverse_frequencies

_ORIGINAL = {"original_max_position_embeddings": 16}


@pytest.mark.parametrize("base", [3.0, 777.5, 5e6])
@pytest.mark.parametrize(
    "settings",
    [
        {"rope_type": "linear", "factor": 1.7},
        {"rope_type": "yarn", "factor": 1.3, **_ORIGINAL},
        {"rope_type": "yarn", "factor": 40.0, "beta_fast": 4.0, "beta_slow": 0.1, "truncate": False, **_ORIGINAL},
        {"rope_type": "yarn", "factor": 1.3, "beta_fast": 1.5, "mscale": 0.7, "mscale_all_dim": 1.1, **_ORIGINAL},
        {"rope_type": "llama3", "factor": 3.3, "low_freq_factor": 0.3, "high_freq_factor": 4.0, **_ORIGINAL},
        {"rope_type": "longrope", "short_factor": [1.3] * 7, "long_factor": [2.7] * 7, "factor": 2.5, **_ORIGINAL},
    ],
)
def test_frequencies_are_those_of_transformers_to_the_last_digit(base: float, settings: dict[str, Any]) -> None:
    entries = {**SMALL_CONFIGS["mistral"], "head_dim": 14, "rope_parameters": {"rope_theta": base, **settings}}
    theirs, factor = ROPE_INIT_FUNCTIONS[settings["rope_type"]](transformers.AutoConfig.for_model(**entries), "cpu")
    _, config = family_and_config(entries)
    assert config.rotary is not None
    assert torch.equal(inverse_frequencies(config.rotary), theirs)
    assert config.rotary.attention_factor == factor


def test_generation_with_a_cache_goes_on_beyond_the_original_context() -> None:
    """Each key is rotated by longrope's factors for the length of the text: the earlier ones too."""
    model = our_model("phi3")
    prompts = random_tokens(2, 29).tolist()
    prompts[1] = prompts[1][:20]
    expected = generate(model, prompts, max_new_tokens=10, use_cache=False)
    assert generate(model, prompts, max_new_tokens=10) == expected


def test_a_cache_of_a_short_text_is_refused_in_a_long_one() -> None:
    model, tokens, cache = our_model("phi3"), random_tokens(1, 34), KeyValueCache()
    model(tokens[:, :30], cache=cache)
    model(tokens[:, 30:32], cache=cache)
    with pytest.raises(InvalidRequestError, match=r"more than 32 tokens, and the cache holds 32"):
        model(tokens[:, 32:], cache=cache)
    cache = KeyValueCache()
    model(tokens[:, :33], cache=cache)
    torch.testing.assert_close(model(tokens[:, 33:], cache=cache)[:, -1], model(tokens)[:, -1], rtol=0, atol=1e-4)
