"""What is known of an architecture of llama.cpp: its configuration, its names, and how its weights are stored."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from neuron_explainer.models.checkpoints.gguf_architectures.entries import Entries
from neuron_explainer.models.checkpoints.gguf_architectures.expert_tensors import expert_tensor, source_of_its_own
from neuron_explainer.models.checkpoints.gguf_architectures.weights import (
    TRANSPOSED,
    UNCHANGED,
    WITHOUT_ONE,
    Conversion,
    by_group,
    rotary_halves_from_pairs,
    rows,
)
from neuron_explainer.models.families.family import Family, TensorSource
from neuron_explainer.models.transformer_config import TransformerConfig

_OUTSIDE_LAYERS = {
    "embedding": "token_embd.weight",
    "position_embedding": "position_embd.weight",
    "final_norm.gain": "output_norm.weight",
    "final_norm.bias": "output_norm.bias",
    "unembedding": "output.weight",
    "unembedding_bias": "output.bias",
}
_PARTS = {
    "attention_norm": "attn_norm",
    "attention_post_norm": "post_attention_norm",
    "mlp_norm": "ffn_norm",
    "mlp_post_norm": "post_ffw_norm",
    "attention.query_norm": "attn_q_norm",
    "attention.key_norm": "attn_k_norm",
    "attention.query": "attn_q",
    "attention.key": "attn_k",
    "attention.value": "attn_v",
    "attention.qkv": "attn_qkv",
    "attention.output": "attn_output",
    "attention.sinks": "attn_sinks",
    "mlp.input": "ffn_gate",
    "mlp.up": "ffn_up",
    "mlp.output": "ffn_down",
    "mlp.router": "ffn_gate_inp",
}
"""llama.cpp's names of our parameters, the same in nearly every architecture."""
_PARTS_OF_TWO_NORMS = {"attention_norm": "attn_norm_2", "mlp_norm": "attn_norm"}
_FUSED = "attn_qkv"


@dataclass(frozen=True)
class Architecture:
    """One architecture.

    Attributes:
        config: makes the entries of a Hugging Face config from a file's entries; `model_type` names the family.
        pairs_are_neighbours: whether the rows of queries and keys are reordered; see `rotary_halves_from_pairs`.
        gains_have_one_added: whether gains are stored whole that the family has minus 1.
        matrices_are_transposed: whether matrices are (outputs, inputs) that the family has as (inputs, outputs).
        fused_by_kind: whether the fused matrix has all queries first; the family has a group for each key.
        may_have_experts: whether MLPs may be made of experts.
        names: llama.cpp's names of our parameters that are others than those of most architectures.
    """

    config: Callable[[Entries], dict[str, Any]]
    pairs_are_neighbours: bool = False
    gains_have_one_added: bool = False
    matrices_are_transposed: bool = False
    fused_by_kind: bool = False
    may_have_experts: bool = False
    names: Mapping[str, str] = field(default_factory=dict)

    def placed(
        self, family: Family, config: TransformerConfig, shapes: Mapping[str, tuple[int, ...]]
    ) -> dict[str, tuple[str, Conversion]]:
        """For each tensor that the family needs and the file has: the name in the file, and the conversion.

        Args:
            family: the family, which knows Hugging Face's names of our parameters.
            config: the model's config.
            shapes: the shapes of the file's tensors, by llama.cpp's names, with experts apart.
        """
        found = {}
        for ours, source in family.outer_sources(config).items():
            found[source.name] = _OUTSIDE_LAYERS.get(ours, ours), self._conversion(ours, config)
        if config.tied_unembedding:  # a file may have it all the same
            found[family.unembedding_name] = _OUTSIDE_LAYERS["unembedding"], UNCHANGED
        for layer in range(config.n_layers):
            sources = family.layer_sources(config, layer)
            for ours, source in sources.items():
                name = source_of_its_own(ours, source).name
                found[name] = self._in_layer(f"blk.{layer}.", ours, sources, config, shapes)
        return {theirs: (stored, how) for theirs, (stored, how) in found.items() if stored in shapes}

    def _in_layer(
        self,
        prefix: str,
        ours: str,
        sources: Mapping[str, TensorSource],
        config: TransformerConfig,
        shapes: Mapping[str, tuple[int, ...]],
    ) -> tuple[str, Conversion]:
        of_expert = expert_tensor(prefix, ours, shapes)
        if of_expert is not None:
            return of_expert
        part, kind = _part_and_kind(ours)
        name = self.names.get(part) or _PARTS.get(part, part)
        if part.startswith("mlp.") and _is_plain_or_fused(sources):
            name = {"mlp.input": "ffn_up"}.get(part, name)
        if part in _PARTS_OF_TWO_NORMS and f"{prefix}attn_norm_2.weight" in shapes:
            name = _PARTS_OF_TWO_NORMS[part]
        conversion = self._conversion(ours, config)
        fused = f"{prefix}{_FUSED}.{kind}"
        if part in ("attention.query", "attention.key", "attention.value") and fused in shapes:
            return fused, _part_of_fused(part, config).then(conversion.convert)
        return f"{prefix}{name}.{kind}", conversion

    def _conversion(self, ours: str, config: TransformerConfig) -> Conversion:
        part, kind = _part_and_kind(ours)
        if self.gains_have_one_added and ours.endswith(".gain"):
            return WITHOUT_ONE
        n_heads_of = {"attention.query": config.n_heads, "attention.key": config.n_key_value_heads}
        if self.pairs_are_neighbours and part in n_heads_of:
            return Conversion(partial(rotary_halves_from_pairs, n_heads=n_heads_of[part]))
        if self.fused_by_kind and part == "attention.qkv":
            return Conversion(partial(by_group, n_heads=config.n_heads, n_key_value_heads=config.n_key_value_heads))
        if self.matrices_are_transposed and kind == "weight" and part.startswith(("attention.", "mlp.")):
            return TRANSPOSED
        return UNCHANGED


def _part_and_kind(ours: str) -> tuple[str, str]:
    """One of our parameters as its module, and "weight" or "bias"."""
    if ours.endswith((".gain", ".bias")):  # of a norm
        part, _, kind = ours.rpartition(".")
    else:
        part, _, kind = ours.rpartition("_")
        if kind not in ("weight", "bias"):
            return ours, "weight"
    return part, "weight" if kind == "gain" else kind


def _is_plain_or_fused(sources: Mapping[str, TensorSource]) -> bool:
    """Whether the MLP has no gate, or its gate and its up matrix are in one tensor."""
    up = sources.get("mlp.up_weight")
    return up is None or up.name == sources["mlp.input_weight"].name


def _part_of_fused(part: str, config: TransformerConfig) -> Conversion:
    n_queries, n_keys = config.n_heads * config.d_head, config.n_key_value_heads * config.d_head
    start = {"attention.query": 0, "attention.key": n_queries, "attention.value": n_queries + n_keys}[part]
    return rows(start, start + (n_queries if part == "attention.query" else n_keys))
