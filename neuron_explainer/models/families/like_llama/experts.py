"""Mixtures of experts: like Mistral, Qwen 3, OLMo and Llama, with experts in place of the MLP."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor

from neuron_explainer.models.families.family import TensorSource, refuse, required
from neuron_explainer.models.families.llama import LlamaFamily, window_everywhere
from neuron_explainer.models.families.read_entries import with_defaults
from neuron_explainer.models.families.rope import rotary_config
from neuron_explainer.models.rotary_config import RotaryConfig
from neuron_explainer.models.transformer_config import RouterKind, TransformerConfig

MATRICES_OF_ATTENTION = {ours: theirs for ours, theirs in LlamaFamily.matrices.items() if not ours.startswith("mlp.")}
"""The linear maps of a layer whose MLP is made of experts, apart from the experts'."""


class ExpertsFamily(LlamaFamily):
    """What families of experts without biases share: the tensors, and the entries about experts.

    Files have a tensor for each expert's matrix; a model in memory, in newer versions of `transformers`, has one for
    all gates and up matrices of a layer, and one for all output matrices.

    Attributes:
        mixture: the module of the router and the experts, as files name it.
        expert_matrices: for each linear map of an expert, the name of its tensors in files.
    """

    matrices = MATRICES_OF_ATTENTION
    mixture = "mlp"
    expert_matrices: Mapping[str, str] = {"input": "gate_proj", "up": "up_proj", "output": "down_proj"}

    def layer_sources(self, config: TransformerConfig, layer: int) -> dict[str, TensorSource]:
        """See the base class."""
        prefix, in_memory = f"model.layers.{layer}.{self.mixture}.", f"model.layers.{layer}.mlp."
        sources = super().layer_sources(config, layer)
        sources["mlp.router_weight"] = TensorSource(
            f"{prefix}gate.weight", otherwise=TensorSource(f"{in_memory}gate.weight")
        )
        d_expert = config.d_mlp // config.n_experts
        rows = {"input": slice(0, d_expert), "up": slice(d_expert, 2 * d_expert), "output": slice(None)}
        for expert in range(config.n_experts):
            for ours, theirs in self.expert_matrices.items():
                stacked = "experts.down_proj" if ours == "output" else "experts.gate_up_proj"
                sources[f"mlp.experts.{expert}.{ours}_weight"] = TensorSource(
                    f"{prefix}experts.{expert}.{theirs}.weight",
                    otherwise=TensorSource(in_memory + stacked, partial(_part, expert=expert, rows=rows[ours])),
                )
        return sources


def _part(stacked: Tensor, expert: int, rows: slice) -> Tensor:
    """One expert's rows of the matrices of all experts."""
    return stacked[expert, rows]


def entries_of_experts(hf_config: Mapping[str, Any], d_expert: int, router_kind: RouterKind) -> dict[str, Any]:
    """The entries of `TransformerConfig` about experts."""
    n_experts = required(hf_config, "num_experts", "num_local_experts")
    return {
        "n_experts": n_experts,
        "n_chosen_experts": required(hf_config, "num_experts_per_tok"),
        "d_mlp": n_experts * d_expert,
        "router_kind": router_kind,
    }


def _router_kind(hf_config: Mapping[str, Any]) -> RouterKind:
    return "renormalised_softmax" if hf_config.get("norm_topk_prob", False) else "softmax"


class MixtralFamily(ExpertsFamily):
    """Mixtral (Jiang et al. 2024). The window, if there is one, is in every layer."""

    model_type = "mixtral"
    mixture = "block_sparse_moe"
    expert_matrices: Mapping[str, str] = {"input": "w1", "up": "w3", "output": "w2"}

    def rotary(self, hf_config: Mapping[str, Any], d_head: int) -> RotaryConfig:
        """See the base class."""
        return rotary_config(hf_config, d_head, default_base=1e6)

    def differences(self, hf_config: Mapping[str, Any]) -> dict[str, Any]:
        """See the base class."""
        return {
            **entries_of_experts(hf_config, required(hf_config, "intermediate_size"), "renormalised_softmax"),
            "norm_epsilon": hf_config.get("rms_norm_eps", 1e-5),
            "sliding_window_by_layer": window_everywhere(hf_config),
            "qkv_bias": False,
            "attention_output_bias": False,
        }


class Qwen3MoeFamily(ExpertsFamily):
    """Qwen 3 with experts in every layer. The window, if it is used, is in every layer."""

    model_type = "qwen3_moe"
    # which count in layers without experts alone
    harmless_entries = frozenset({"intermediate_size", "max_window_layers"})

    def differences(self, hf_config: Mapping[str, Any]) -> dict[str, Any]:
        """See the base class."""
        refuse(hf_config, "decoder_sparse_step", 1)
        refuse(hf_config, "mlp_only_layers", [])
        is_used = hf_config.get("use_sliding_window", False)
        with_window = with_defaults(hf_config, {"sliding_window": 4096})
        return {
            **entries_of_experts(hf_config, required(hf_config, "moe_intermediate_size"), _router_kind(hf_config)),
            "sliding_window_by_layer": window_everywhere(with_window) if is_used else (),
            "query_key_norm": "rms_by_head",
        }


class OlmoeFamily(ExpertsFamily):
    """OLMoE (Muennighoff et al. 2024): queries and keys are normalised as in OLMo 2."""

    model_type = "olmoe"

    def differences(self, hf_config: Mapping[str, Any]) -> dict[str, Any]:
        """See the base class."""
        refuse(hf_config, "clip_qkv")
        return {
            **entries_of_experts(hf_config, required(hf_config, "intermediate_size"), _router_kind(hf_config)),
            "norm_epsilon": hf_config.get("rms_norm_eps", 1e-5),
            "query_key_norm": "rms_of_projection",
        }
