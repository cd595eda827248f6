"""Faults that are planted in a model: what each is, in which small model, and where it sits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from checking import code_mutants, expert_mutants, pass_mutants
from checking.code_mutants import Patched
from helpers.tiny_models import our_model
from neuron_explainer.models.layers.unfilled import fill
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.places import ActivationLocationType as Place


@dataclass(frozen=True)
class Mutant:
    """A fault.

    Attributes:
        name: what it is.
        small_model: the small model that has it.
        plant: changes a model of ours, or gives another one; classes are changed by `patched`, which is undone.
        where: the place and layer at which it sits; None if it sits at none.
        alone: whether it shows without a reference.
        thorough: whether it shows in a thorough check alone.
    """

    name: str
    small_model: str
    plant: Callable[[Transformer, Patched], Transformer | None]
    where: tuple[Place, int | None] | None = None
    alone: bool = False
    thorough: bool = False


def _config(**changes: Any) -> Callable[[Transformer, Patched], Transformer]:
    """Another config around the same weights."""

    def plant(model: Transformer, patched: Patched) -> Transformer:
        changed = {
            name: value(getattr(model.config, name)) if callable(value) else value for name, value in changes.items()
        }
        other = Transformer(replace(model.config, **changed))
        wanted = dict(other.named_parameters())
        for name, weight in model.named_parameters():
            if name in wanted:
                fill(other, name, weight)
        return other

    return plant


def _rotary(**changes: Any) -> Callable[[Transformer, Patched], Transformer]:
    return _config(
        rotary=None,
        rotary_by_layer=lambda several: tuple(each and replace(each, **changes) for each in several),
    )


def _weight(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[Transformer, Patched], None]:
    def plant(model: Transformer, patched: Patched) -> None:
        fill(model, name, change(model.get_parameter(name).detach().clone()).contiguous())

    return plant


def _swapped(first: str, second: str) -> Callable[[Transformer, Patched], None]:
    def plant(model: Transformer, patched: Patched) -> None:
        one, other = (model.get_parameter(name).detach().clone() for name in (first, second))
        fill(model, first, other)
        fill(model, second, one)

    return plant


def _attribute(path: str, name: str, value: Any) -> Callable[[Transformer, Patched], None]:
    def plant(model: Transformer, patched: Patched) -> None:
        module = model.get_submodule(path)
        found = getattr(module, name)
        object.__setattr__(module, name, value(found) if callable(value) else value)

    return plant


def _blocks_swapped(model: Transformer, patched: Patched) -> None:
    first, second = model.blocks[1], model.blocks[2]
    names = [name for name, _ in first.named_parameters()]
    for name in names:
        one, other = (each.get_parameter(name).detach().clone() for each in (first, second))
        fill(first, name, other)
        fill(second, name, one)


def _wrong_groups(model: Transformer, patched: Patched) -> None:
    attention = model.blocks[1].attention

    def repeated(heads: Tensor) -> Tensor:
        return heads.repeat(1, 1, attention.n_heads // heads.shape[2], 1)

    object.__setattr__(attention, "repeated", repeated)


def _noise(model: Transformer, patched: Patched) -> None:
    block = model.blocks[1]
    plain = block.mlp.forward

    def forward(normed: Tensor, *arguments: Any) -> Tensor:
        return torch.nn.functional.dropout(plain(normed, *arguments), 0.1)

    object.__setattr__(block.mlp, "forward", forward)


def _detached(model: Transformer, patched: Patched) -> None:
    block = model.blocks[1]
    plain = block.attention_norm.fused
    object.__setattr__(block.attention_norm, "fused", lambda resid: plain(resid.detach()))


def _zeroed_head(weight: Tensor) -> Tensor:
    weight[:, :8] = 0
    return weight


def _halved(weight: Tensor) -> Tensor:
    return weight / 2


def _unit(weight: Tensor) -> Tensor:
    return torch.ones_like(weight)


_zero = torch.zeros_like


def _long_factors_tripled(model: Transformer, patched: Patched) -> Transformer:
    rotary = tuple(
        each and replace(each, long_factors=tuple(3 * factor for factor in each.long_factors))
        for each in model.config.rotary_by_layer
    )
    return _config(rotary=None, rotary_by_layer=rotary)(model, patched)


MUTANTS = [
    # weights
    Mutant(
        "norms of a layer swapped",
        "gpt2",
        _swapped("blocks.1.attention_norm.gain", "blocks.1.mlp_norm.gain"),
        (Place.RESID_POST_MLP_LAYER_NORM, 1),
    ),
    Mutant(
        "gain of the final norm left out",
        "llama",
        _weight("final_norm.gain", _unit),
        (Place.RESID_POST_FINAL_LAYER_NORM, None),
    ),
    Mutant(
        "bias of a norm left out",
        "gpt2",
        _weight("blocks.1.mlp_norm.bias", _zero),
        (Place.RESID_POST_ATTN_LAYER_NORM, 1),
    ),
    Mutant("layers off by one", "llama", _blocks_swapped, (Place.RESID_POST_MLP_LAYER_NORM, 1)),
    Mutant("bias of queries left out", "qwen2", _weight("blocks.1.attention.query_bias", _zero), (Place.ATTN_QUERY, 1)),
    Mutant(
        "bias of the MLP's input left out", "gpt2", _weight("blocks.2.mlp.input_bias", _zero), (Place.MLP_PRE_ACT, 2)
    ),
    Mutant(
        "bias of the MLP's output left out",
        "gpt_neox",
        _weight("blocks.0.mlp.output_bias", _zero),
        (Place.RESID_DELTA_MLP, 0),
    ),
    Mutant(
        "bias of attention's output left out",
        "gpt2",
        _weight("blocks.1.attention.output_bias", _zero),
        (Place.RESID_DELTA_ATTN, 1),
    ),
    Mutant("bias of the unembedding left out", "phi", _weight("unembedding_bias", _zero), (Place.LOGITS, None)),
    Mutant(
        "square weight transposed",
        "gpt2",
        _weight("blocks.1.attention.output_weight", lambda w: w.T),
        (Place.RESID_DELTA_ATTN, 1),
    ),
    Mutant(
        "queries and keys swapped",
        "opt",
        _swapped("blocks.1.attention.query_weight", "blocks.1.attention.key_weight"),
        (Place.ATTN_QUERY, 1),
    ),
    Mutant(
        "gate and up swapped",
        "llama",
        _swapped("blocks.1.mlp.input_weight", "blocks.1.mlp.up_weight"),
        (Place.MLP_PRE_ACT, 1),
    ),
    Mutant(
        "head left out", "llama", _weight("blocks.2.attention.output_weight", _zeroed_head), (Place.RESID_DELTA_ATTN, 2)
    ),
    Mutant("tied weights untied", "gpt2", lambda m, p: _untied(m), (Place.LOGITS, None)),
    Mutant(
        "position embedding left out", "gpt2", _weight("position_embedding", _zero), (Place.RESID_POST_EMBEDDING, None)
    ),
    Mutant(
        "positions off by one",
        "opt",
        _weight("position_embedding", lambda w: w.roll(1, 0)),
        (Place.RESID_POST_EMBEDDING, None),
    ),
    Mutant(
        "experts in another order",
        "mixtral",
        _swapped("blocks.1.mlp.experts.0.input_weight", "blocks.1.mlp.experts.1.input_weight"),
        (Place.MLP_PRE_ACT, 1),
    ),
    Mutant(
        "rows of the router in another order",
        "mixtral",
        _weight("blocks.0.mlp.router_weight", lambda w: w.flip(0)),
        (Place.MLP_PRE_ACT, 0),
    ),
    Mutant(
        "sinks left out",
        "gpt_oss",
        _weight("blocks.1.attention.sinks", lambda w: torch.full_like(w, -1e4)),
        (Place.ATTN_QK_PROBS, 1),
    ),
    Mutant(
        "norm of queries left out", "qwen3", _weight("blocks.1.attention.query_norm.gain", _unit), (Place.ATTN_QUERY, 1)
    ),
    Mutant("weight half as large", "llama", _weight("blocks.1.mlp.output_weight", _halved), (Place.RESID_DELTA_MLP, 1)),
    # config
    Mutant("rotary pairs interleaved", "llama", _rotary(is_interleaved=True), (Place.ATTN_QUERY, 0)),
    Mutant("rotary pairs not interleaved", "gptj", _rotary(is_interleaved=False), (Place.ATTN_QUERY, 0)),
    Mutant("rotary base", "llama", _rotary(base=10500.0), (Place.ATTN_QUERY, 0)),
    Mutant("rotary scaling left out", "llama_3", _rotary(scaling=None), (Place.ATTN_QUERY, 0)),
    Mutant("rotary factor", "llama_linear", _rotary(factor=1.5), (Place.ATTN_QUERY, 0)),
    Mutant("half as many channels rotated", "gptj", _rotary(n_channels=2), (Place.ATTN_QUERY, 0)),
    Mutant("embedding not scaled", "gemma2", _config(embedding_scale=1.0), (Place.RESID_POST_EMBEDDING, None)),
    Mutant("window off by one", "mistral", _config(sliding_window_by_layer=(6, 6, 6)), (Place.ATTN_QK_LOGITS, 0)),
    Mutant("window left out", "starcoder2", _config(sliding_window_by_layer=()), (Place.ATTN_QK_LOGITS, 0)),
    Mutant(
        "windows of other layers",
        "gemma3_text",
        _config(sliding_window_by_layer=lambda s: tuple(reversed([s[1], s[0], s[2]]))),
        None,
    ),
    Mutant("wrong epsilon", "llama", _config(norm_epsilon=1e-5), None),
    Mutant("softcap of attention left out", "gemma2", _config(attention_softcap=None), (Place.ATTN_QK_LOGITS, 0)),
    Mutant("softcap of logits left out", "gemma2", _config(logits_softcap=None), (Place.LOGITS, None)),
    Mutant("scale of attention", "gemma2", _config(attention_scale_by_layer=()), (Place.ATTN_QUERY, 0)),
    Mutant("GELU by another formula", "gpt2", _config(activation_function="gelu"), (Place.MLP_POST_ACT, 0)),
    Mutant("SiLU for GELU", "gemma2", _config(activation_function="silu"), (Place.MLP_POST_ACT, 0)),
    Mutant(
        "factor of what is added left out", "granite", _config(residual_multiplier=1.0), (Place.RESID_DELTA_ATTN, 0)
    ),
    Mutant("factor of logits left out", "cohere", _config(logits_scale=1.0), (Place.LOGITS, None)),
    Mutant("offset of gains left out", "gemma2", _config(norm_gain_offset=0.0), (Place.RESID_POST_MLP_LAYER_NORM, 0)),
    Mutant("MLP after attention, not beside it", "gpt_neox", _config(parallel_residual=False), None),
    Mutant("MLP beside attention, not after it", "llama", _config(parallel_residual=True), None),
    Mutant("another number of experts", "mixtral", _config(n_chosen_experts=1), (Place.MLP_PRE_ACT, 0)),
    Mutant("router's weights not made to sum to 1", "mixtral", _config(router_kind="softmax"), (Place.MLP_POST_ACT, 0)),
    Mutant("limit of gates left out", "gpt_oss", _config(gate_limit=None), (Place.MLP_POST_ACT, 0)),
    Mutant("offset of what gates multiply left out", "gpt_oss", _config(up_offset=0.0), (Place.MLP_POST_ACT, 0)),
    Mutant("growth of queries left out", "ministral3", _config(query_growth=0.0), (Place.ATTN_QUERY, 0)),
    Mutant("norms centred that are not", "olmo2", _config(norm_kind="layer_norm", norm_has_bias=False), None),
    # code
    Mutant("wrong group of keys", "llama", _wrong_groups, (Place.ATTN_KEY, 1), alone=True),
    Mutant(
        "epsilon of one norm",
        "llama",
        _attribute("blocks.1.mlp_norm", "epsilon", 1e-3),
        (Place.MLP_INPUT_LAYER_NORM_SCALE, 1),
        alone=True,
    ),
    Mutant(
        "window of one layer off by one",
        "mistral",
        _attribute("blocks.1.attention", "window", 6),
        (Place.ATTN_QK_LOGITS, 1),
        alone=True,
    ),
    Mutant(
        "softcap of one layer left out",
        "gemma2",
        _attribute("blocks.2.attention", "softcap", None),
        (Place.ATTN_QK_LOGITS, 2),
        alone=True,
    ),
    Mutant(
        "norm after attention left out",
        "gemma2",
        _attribute("blocks.1", "attention_post_norm", None),
        (Place.RESID_DELTA_ATTN, 1),
        alone=True,
    ),
    Mutant("mask off by one", "mistral", code_mutants.mask_one_off, (Place.ATTN_QK_LOGITS, 0), alone=True),
    Mutant("rotary positions doubled", "llama", code_mutants.positions_one_late, (Place.ATTN_QUERY, 0), alone=True),
    Mutant("stale cache", "llama", code_mutants.stale_cache, None, alone=True),
    Mutant("positions behind a cache off by one", "llama", code_mutants.cache_one_late, None, alone=True),
    Mutant("hook ignored", "gpt2", code_mutants.ignored_hook, None, alone=True),
    Mutant("hook on every prompt of a batch", "gpt2", code_mutants.hook_on_all_rows, None, alone=True),
    Mutant("recorded is not what is used", "gpt2", code_mutants.recording_before, (Place.MLP_POST_ACT, 0), alone=True),
    Mutant("dropout left on", "gpt2", _noise, None, alone=True),
    Mutant("gradient cut off", "gpt2", _detached, None, alone=True),
    Mutant("hooks shared by threads", "gpt2", code_mutants.shared_contexts, None, alone=True),
    Mutant("cache swaps two prompts", "gpt2", code_mutants.cache_swaps_prompts, None, alone=True),
    Mutant("cache takes prompts for equally long", "gpt2", code_mutants.cache_of_one_length, None, alone=True),
    Mutant("interventions half as strong", "gpt2", code_mutants.half_interventions, None, alone=True),
    Mutant("interventions at early tokens alone", "gpt2", code_mutants.interventions_on_early_tokens, None, alone=True),
    Mutant("interventions applied twice", "gpt2", code_mutants.interventions_applied_twice, None, alone=True),
    Mutant("interventions ignored with a cache", "gpt2", code_mutants.interventions_ignored_with_a_cache, None, True),
    Mutant("interventions on gradients ignored", "gpt2", code_mutants.gradients_left_as_they_are, None, alone=True),
    Mutant("last logits alone are others", "gpt2", code_mutants.last_logits_rolled, None, alone=True),
    Mutant("layers from one on give others", "gpt2", code_mutants.doubled_from_a_layer_on, None, alone=True),
    Mutant("second prompt of a batch", "gpt2", code_mutants.wrong_second_prompt, None, alone=True),
    Mutant("negative weights", "gpt2", code_mutants.negative_weights, (Place.ATTN_QK_PROBS, 1), alone=True),
    Mutant(
        "router's weights left out", "mixtral", expert_mutants.weights_left_out, (Place.MLP_POST_ACT, 0), alone=True
    ),
    Mutant(
        "experts' biases not weighted", "gpt_oss", expert_mutants.biases_unweighted, (Place.RESID_DELTA_MLP, 0), True
    ),
    Mutant("experts with the lowest scores", "olmoe", expert_mutants.lowest_chosen, (Place.MLP_PRE_ACT, 0), alone=True),
    Mutant("experts' rows mixed up", "qwen3_moe", expert_mutants.mixed_up, (Place.MLP_PRE_ACT, 0), alone=True),
    Mutant("next token sees the first alone", "gpt2", pass_mutants.next_token_sees_the_first_alone, None, alone=True),
    Mutant("next token has no window", "mistral", pass_mutants.next_token_has_no_window, None, alone=True),
    Mutant("replaced keys in another order", "llama", pass_mutants.keys_repeated_in_another_order, None, True),
    Mutant("chosen logits one early", "gpt2", pass_mutants.chosen_logits_one_early, None, alone=True),
    Mutant("other numbers without logits", "gpt2", pass_mutants.other_numbers_without_logits, None, alone=True),
    Mutant("one place alone too large", "gpt2", pass_mutants.one_place_alone_too_large, None, alone=True),
    Mutant("padding on the left taken", "gpt2", pass_mutants.padding_on_the_left_taken, None, alone=True),
    *(
        Mutant(name, "gpt2", plant, None, alone=True, thorough=True)
        for name, plant in {
            "three prompts mixed in the cache": pass_mutants.three_prompts_mixed_in_the_cache,
            "last logits beside a recorded norm": pass_mutants.last_logits_beside_a_recorded_norm,
            "read-out alone too large": pass_mutants.read_out_alone_too_large,
            "upper layers without interventions": pass_mutants.upper_layers_without_interventions,
            "behind recordings ignored": pass_mutants.behind_recordings_ignored,
            "two at a place reversed": pass_mutants.reversed_at_a_place,
            "first of its layers alone": pass_mutants.first_of_its_layers_alone,
        }.items()
    ),
    Mutant("mask of late tokens", "llama", code_mutants.late_mask, None, alone=True, thorough=True),
    Mutant("positions of late tokens", "llama", code_mutants.late_positions, None, alone=True, thorough=True),
    Mutant("one of ten passes", "gpt2", code_mutants.one_of_ten_passes, None, alone=True, thorough=True),
    # long prompts, and more of them
    Mutant("three prompts mixed up", "gpt2", code_mutants.three_mixed_up, None, alone=True, thorough=True),
    Mutant("stretch of long contexts", "phi3", _long_factors_tripled, None, thorough=True),
]


def _untied(model: Transformer) -> Transformer:
    other = _config(tied_unembedding=False)(model, lambda *arguments: None)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(model.embedding.shape, generator=generator).to(model.embedding)
    fill(other, "unembedding", model.embedding + 0.01 * noise)
    return other


def planted(mutant: Mutant, patched: Patched) -> Transformer:
    """A model with the fault."""
    model = our_model(mutant.small_model)
    made = mutant.plant(model, patched)
    return model if made is None else made
