"""Random configs of families at odd sizes, with settings in combinations that no published model may have."""

import random
from collections.abc import Callable
from typing import Any

Entries = dict[str, Any]

_SPECIAL: Entries = {"bos_token_id": 0, "eos_token_id": 1, "vocab_size": 31}
_WITHOUT_ATTENTION_BIAS = {"phi", "stablelm", "starcoder2", "ministral", "mixtral"}
_WITHOUT_HEAD_SIZE = {"phi", "phi3", "stablelm", "olmo2", "olmo3", "olmoe", "cohere", "granite", "starcoder2"}


def _rope(chance: random.Random, n_channels: int, *, partly: tuple[float, ...] = ()) -> Entries:
    kind = chance.choice(["default", "default", "linear", "dynamic", "yarn", "llama3", "longrope"])
    base: Entries = {"rope_type": kind, "rope_theta": chance.choice([100.0, 1e4])}
    original = {"original_max_position_embeddings": 16}
    if partly:
        return {**base, "rope_type": "default", "partial_rotary_factor": chance.choice(partly)}
    match kind:
        case "linear" | "dynamic":
            base["factor"] = chance.choice([2.0, 4.0])
        case "yarn":
            base |= {"factor": chance.choice([2.0, 4.0]), **original}
            base |= chance.choice(
                [
                    {},
                    {"beta_fast": 8.0, "beta_slow": 0.5},
                    {"attention_factor": 1.3},
                    {"mscale": 0.7, "mscale_all_dim": 1.1},
                ]
            )
        case "llama3":
            base |= {"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, **original}
        case "longrope":
            base |= {
                name: [chance.uniform(1, 4) for _ in range(n_channels // 2)] for name in ("short_factor", "long_factor")
            }
            base |= original
    return base


def _like_llama(family: str, chance: random.Random) -> Entries:
    def either(*choices: Any) -> Any:
        return chance.choice(choices)

    n_heads, n_layers = either(1, 2, 3, 4), either(1, 2, 3, 5)
    d_head = either(8, 16) if family in ("phi", "stablelm") else either(8, 12, 16)
    entries: Entries = {
        **_SPECIAL,
        "pad_token_id": None,
        "hidden_size": n_heads * d_head,
        "num_hidden_layers": n_layers,
        "num_attention_heads": n_heads,
        "num_key_value_heads": chance.choice([shared for shared in (1, 2, 3, 4) if n_heads % shared == 0]),
        "intermediate_size": either(17, 24, 33),
        "max_position_embeddings": either(32, 48),
        "tie_word_embeddings": either(True, False),
        "attention_bias": either(True, False),
    }
    if family in _WITHOUT_ATTENTION_BIAS:
        del entries["attention_bias"]
    if family not in _WITHOUT_HEAD_SIZE:
        d_head = entries["head_dim"] = either(8, 16) if family == "glm4" else either(8, 10, 16, d_head)
    kinds = [either("full_attention", "sliding_attention") for _ in range(n_layers)]
    by_kind = {"layer_types": kinds, "sliding_window": either(3, 64)}
    rope = _rope(chance, d_head)
    n_experts = either(1, 3, 7)
    n_chosen = either(1, n_experts)
    by_family: dict[str, Callable[[], Entries]] = {
        "gemma3_text": lambda: {
            **by_kind,
            "query_pre_attn_scalar": either(7, 24),
            "final_logit_softcapping": either(None, 4.0),
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
                "full_attention": rope,
            },
        },
        "smollm3": lambda: {
            "no_rope_layers": [either(0, 1) for _ in kinds],
            "use_sliding_window": True,
            "sliding_window": 4,
            "mlp_bias": either(True, False),
            "rope_parameters": rope,
        },
        "olmo2": lambda: {"rope_parameters": rope},
        "olmo3": lambda: {
            **by_kind,
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
                "full_attention": rope,
            },
        },
        "phi": lambda: {"rope_parameters": _rope(chance, d_head, partly=(0.25, 0.5, 1.0))},
        "stablelm": lambda: {
            "use_qkv_bias": either(True, False),
            "use_parallel_residual": either(True, False),
            "qk_layernorm": either(False, False, True),
            "rope_parameters": _rope(chance, d_head, partly=(0.25, 0.5, 1.0)),
        },
        "starcoder2": lambda: {
            "use_bias": either(True, False),
            "sliding_window": either(None, 4),
            "rope_parameters": rope,
        },
        "granite": lambda: {
            "mlp_bias": either(True, False),
            "embedding_multiplier": either(1.0, 3.0),
            "attention_multiplier": either(0.1, 1.0),
            "residual_multiplier": either(1.0, 0.3),
            "logits_scaling": either(1.0, 5.0),
            "rope_parameters": rope,
        },
        "cohere": lambda: {
            "use_qk_norm": either(True, False),
            "logit_scale": either(1.0, 0.1),
            "rope_parameters": rope,
        },
        "cohere2": lambda: {**by_kind, "logit_scale": either(1.0, 0.1), "rope_parameters": rope},
        "glm4": lambda: {"rope_parameters": _rope(chance, d_head, partly=(0.5, 1.0))},
        "ministral": lambda: {**by_kind, "rope_parameters": rope},
        "mixtral": lambda: {
            "num_local_experts": n_experts,
            "num_experts_per_tok": n_chosen,
            "sliding_window": either(None, 1, 4),
            "rope_parameters": rope,
        },
        "qwen3_moe": lambda: {
            "num_experts": n_experts,
            "num_experts_per_tok": n_chosen,
            "moe_intermediate_size": either(1, 7),
            "norm_topk_prob": either(True, False),
            "use_sliding_window": either(True, False),
            "sliding_window": 4,
            "rope_parameters": rope,
        },
        "olmoe": lambda: {
            "num_experts": n_experts,
            "num_experts_per_tok": n_chosen,
            "norm_topk_prob": either(True, False),
            "rope_parameters": rope,
        },
        "gpt_oss": lambda: {
            **by_kind,
            "num_local_experts": n_experts,
            "num_experts_per_tok": n_chosen,
            "swiglu_limit": either(0.3, 7.0),
            "swiglu_alpha": either(1.0, 1.702),
            "rope_parameters": rope,
        },
    }
    return {**entries, **by_family[family]()}


def _like_gpt(family: str, chance: random.Random) -> Entries:
    def either(*choices: Any) -> Any:
        return chance.choice(choices)

    n_heads, n_layers = either(2, 4), either(1, 2, 3)
    width = {"hidden_size": n_heads * 8, "num_hidden_layers": n_layers, "num_attention_heads": n_heads}
    match family:
        case "gptj":
            return {
                **_SPECIAL, "n_embd": n_heads * 12, "n_layer": n_layers, "n_head": n_heads, "n_positions": 40,
                "rotary_dim": either(2, 4, 8), "n_inner": either(None, 19), "tie_word_embeddings": either(True, False),
            }  # fmt: skip
        case "gpt_neo":
            kinds = [[[either("global", "local")], 1] for _ in range(n_layers)]
            return {
                **_SPECIAL, "hidden_size": n_heads * 8, "num_layers": n_layers, "num_heads": n_heads,
                "attention_types": kinds, "window_size": either(2, 5, 64), "intermediate_size": either(None, 19),
                "max_position_embeddings": 40,
            }  # fmt: skip
        case "opt":
            return {
                **_SPECIAL, **width, "ffn_dim": 19, "word_embed_proj_dim": either(n_heads * 8, n_heads * 8, 16),
                "enable_bias": either(True, False), "do_layer_norm_before": either(True, True, False),
                "max_position_embeddings": 40, "pad_token_id": 1,
            }  # fmt: skip
        case _:
            has_groups = either(True, False)
            return {
                **_SPECIAL, **width, "new_decoder_architecture": has_groups,
                "num_kv_heads": either(1, 2) if has_groups else n_heads,
                "multi_query": either(True, False), "parallel_attn": has_groups or either(True, False),
                "bias": either(True, False), "ffn_hidden_size": either(19, 32), "alibi": either(False, False, True),
                "num_ln_in_parallel_attn": either(1, 2) if has_groups else None, "max_position_embeddings": 40,
            }  # fmt: skip


LIKE_GPT = ("gptj", "gpt_neo", "opt", "falcon")
LIKE_LLAMA = (
    "gemma3_text", "smollm3", "olmo2", "olmo3", "phi", "stablelm", "starcoder2", "granite", "cohere", "cohere2", "glm4",
    "ministral", "mixtral", "qwen3_moe", "olmoe", "gpt_oss",
)  # fmt: skip


def odd_config(family: str, number: int) -> Entries:
    """The entries of one of a family's random configs."""
    chance = random.Random(f"{family} {number}")
    return (_like_gpt if family in LIKE_GPT else _like_llama)(family, chance)
