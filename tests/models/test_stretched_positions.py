"""Rotary embeddings for long contexts: frequencies to the last digit, and longrope's change from short to long."""

import functools
from typing import Any

import pytest
import torch
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

import neuron_explainer as ne
from benchmarks.shapes import random_model
from benchmarks.small_models import SMALL_CONFIGS, number_tokenizer
from helpers.derived_scalars import PROMPT, logit_difference
from helpers.installed_transformers import IS_OLD
from helpers.tiny_models import our_model, random_tokens
from neuron_explainer.activations.derived_scalars.indexing import (
    AttentionTraceType,
    AttnSubNodeIndex,
    NodeIndex,
    PreOrPostAct,
)
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.families.registry import family_and_config
from neuron_explainer.models.generation.generate import generate
from neuron_explainer.models.layers.key_value_cache import KeyValueCache
from neuron_explainer.models.layers.rotary import inverse_frequencies
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D
from neuron_explainer.vocabulary.nodes import AttnSubNode, NodeType

_ORIGINAL = {"original_max_position_embeddings": 16}


@pytest.mark.skipif(IS_OLD, reason="the config is spelt as in transformers 5")
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


@functools.cache
def stretched() -> ne.StandardModelContext:
    """A model for which a prompt of five tokens is long."""
    rope = {**SMALL_CONFIGS["phi3"]["rope_parameters"], "original_max_position_embeddings": 4, "attention_factor": 1.0}
    entries = {**SMALL_CONFIGS["phi3"], "original_max_position_embeddings": 4, "rope_parameters": rope}
    return ne.StandardModelContext("stretched", random_model(entries, "cpu", torch.float64), number_tokenizer())


@pytest.mark.parametrize("part", [AttnSubNode.Q, AttnSubNode.K])
def test_an_edge_in_a_long_prompt_is_the_same_from_either_end(part: AttnSubNode) -> None:
    """One end is computed from one token alone, which is rotated as in the whole prompt."""
    token = {AttnSubNode.Q: 3, AttnSubNode.K: 1}[part]
    into = {AttnSubNode.Q: D.ATTN_QUERY_IN_EDGE_ATTRIBUTION, AttnSubNode.K: D.ATTN_KEY_IN_EDGE_ATTRIBUTION}[part]
    up = NodeIndex(NodeType.MLP_NEURON, 0, (token, 7))
    down = AttnSubNodeIndex(NodeType.ATTENTION_HEAD, 1, (3, 1, 2), q_k_or_v=part)

    def edge(dst: D, node: NodeIndex, other: NodeIndex) -> float:
        config = ne.DstConfig(model_context=stretched(), node_index_for_attribution=node)
        store = ne.derive(PROMPT, dst, config, loss=logit_difference)
        return float(store.activations(dst)[other.layer_index][other.slices])

    found = edge(into, up, down)
    assert found != 0
    assert found == pytest.approx(edge(D.MLP_OUT_EDGE_ATTRIBUTION, down, up), rel=1e-8)


@pytest.mark.parametrize("kind", [AttentionTraceType.Q, AttentionTraceType.K, AttentionTraceType.QK])
def test_a_traced_head_early_in_a_long_prompt_has_the_value_that_was_recorded(kind: AttentionTraceType) -> None:
    node = NodeIndex(NodeType.ATTENTION_HEAD, 1, (2, 1, 2))
    trace = ne.TraceConfig(node, PreOrPostAct.POST, attention_trace_type=kind)
    config = ne.DstConfig(model_context=stretched(), trace_config=trace)
    store = ne.derive(PROMPT, [D.ATTN_QK_PROBS, D.TOKEN_ATTRIBUTION], config)
    assert store.traced_activation == pytest.approx(float(store.activations(D.ATTN_QK_PROBS)[1][node.slices]), rel=1e-9)


def test_prompts_of_a_batch_are_stretched_by_their_own_lengths() -> None:
    prompts = [PROMPT, PROMPT[:3], PROMPT[:4], PROMPT[1:]]
    dsts = [D.LOGITS, D.MLP_ACT_TIMES_GRAD]
    together = ne.derive_batch(prompts, dsts, stretched(), loss=logit_difference)
    for prompt, store in zip(prompts, together, strict=True):
        alone = ne.derive(prompt, dsts, stretched(), loss=logit_difference)
        assert store.token_ids == prompt
        assert store.loss == pytest.approx(alone.loss)
        for dst in dsts:
            for layer, tensor in alone.activations(dst).items():
                torch.testing.assert_close(store.activations(dst)[layer], tensor)


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
