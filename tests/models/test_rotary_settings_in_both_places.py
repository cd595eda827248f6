"""Configs that say a rotary setting twice, under another family's name, or not at all, against transformers."""

import copy
from typing import Any

import pytest
import torch
import transformers
from transformers.models.gpt_neox.modeling_gpt_neox import GPTNeoXRotaryEmbedding
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from helpers.installed_transformers import IS_OLD
from neuron_explainer.models.families import family_of
from neuron_explainer.models.layers.rotary import inverse_frequencies

pytestmark = pytest.mark.skipif(IS_OLD, reason="what counts in transformers before 5 differs from family to family")

SIZES = {
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "intermediate_size": 96,
    "vocab_size": 50,
    "max_position_embeddings": 128,
}
LINEAR = {"rope_type": "linear", "factor": 4.0}
DEFAULT = {"rope_type": "default", "rope_theta": 500.0}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


@pytest.mark.parametrize("model_type", ["llama", "gemma2", "qwen3", "gpt_neox"])
@pytest.mark.parametrize(
    "entries",
    [
        {"rope_scaling": LINEAR, "rope_parameters": DEFAULT},
        {"rope_scaling": LINEAR, "rope_parameters": DEFAULT, "rope_theta": 33.0},
        {"rope_parameters": DEFAULT, "rope_theta": 33.0},
        {"rope_parameters": LINEAR, "rope_theta": 33.0},
        {"rope_theta": 33.0, "rotary_emb_base": 777.0},
        {"rotary_emb_base": 777.0},
        {"rotary_pct": 0.5},
        {"rotary_pct": 1.0, "rope_theta": 33.0, "partial_rotary_factor": 1.0},
        {"original_max_position_embeddings": 32, "rope_scaling": LLAMA3},
        {
            "original_max_position_embeddings": 16,
            "rope_scaling": {**LLAMA3, "original_max_position_embeddings": 32},
        },
        {"original_max_position_embeddings": 32, "rope_scaling": LINEAR},
    ],
    ids=str,
)
def test_the_setting_that_counts_is_the_one_that_transformers_reads(model_type: str, entries: dict[str, Any]) -> None:
    hf_config = {"model_type": model_type, **SIZES, **entries}
    theirs: Any = transformers.AutoConfig.for_model(**copy.deepcopy(hf_config))
    rotary = (GPTNeoXRotaryEmbedding if model_type == "gpt_neox" else LlamaRotaryEmbedding)(theirs)
    ours = family_of(hf_config).config(hf_config)
    assert ours.rotary is not None
    torch.testing.assert_close(inverse_frequencies(ours.rotary), rotary.inv_freq)


@pytest.mark.parametrize(("model_type", "channels"), [("llama", 16), ("mistral", 16), ("gemma2", 256), ("qwen3", 128)])
def test_heads_whose_size_is_not_said_have_their_family_s(model_type: str, channels: int) -> None:
    hf_config: dict[str, Any] = {"model_type": model_type, **SIZES}
    theirs: Any = transformers.AutoConfig.for_model(**copy.deepcopy(hf_config))
    ours = family_of(hf_config).config(hf_config)
    assert (getattr(theirs, "head_dim", None) or 16) == channels
    assert (ours.d_head, ours.rotary and ours.rotary.n_channels) == (channels, channels)
