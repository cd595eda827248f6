"""Model types that are asked for and that this library does not have, with the reason."""

from collections.abc import Mapping
from types import MappingProxyType

_STATE = "its layers, or some of them, carry a state from token to token instead of attending"
_ENCODER = "it has an encoder, whose tokens attend to later ones"
_ALIBI = "its positions are distances added to attention logits (ALiBi)"
_LATENT = "its keys and values are made from a shared compressed vector (multi-head latent attention)"
_EXPERTS = "it is a mixture of experts of a kind that is not read yet"
_PICTURES = "it reads more than text, and its text part has no adapter"

REASON_BY_MODEL_TYPE: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "bamba", "falcon_h1", "falcon_mamba", "granitemoehybrid", "jamba", "kimi_linear", "lfm2", "lfm2_moe",
                "mamba", "mamba2", "nemotron_h", "olmo_hybrid", "qwen3_5", "qwen3_5_moe", "qwen3_next",
                "recurrent_gemma", "rwkv", "xlstm", "zamba", "zamba2",
            ),
            _STATE,
        ),
        **dict.fromkeys(
            (
                "albert", "bart", "bert", "deberta", "deberta-v2", "distilbert", "electra", "modernbert", "mt5",
                "pegasus", "roberta", "t5", "t5gemma", "umt5", "whisper", "xlm-roberta",
            ),
            _ENCODER,
        ),
        **dict.fromkeys(("bloom", "mpt"), _ALIBI),
        **dict.fromkeys(
            ("deepseek_v2", "deepseek_v3", "deepseek_v32", "deepseek_v4", "kimi_k2", "longcat_flash", "minicpm3"),
            _LATENT,
        ),
        **dict.fromkeys(
            (
                "dbrx", "deepseek", "ernie4_5_moe", "flex_olmo", "glm4_moe", "granitemoe", "granitemoeshared",
                "hunyuan_v1_moe", "minimax", "nllb-moe", "phimoe", "qwen2_moe", "switch_transformers",
            ),
            _EXPERTS,
        ),
        **dict.fromkeys(
            (
                "gemma4", "idefics3", "internvl", "llava", "llava_next", "mistral3", "paligemma", "phi4_multimodal",
                "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "smolvlm", "voxtral",
            ),
            _PICTURES,
        ),
        "biogpt": "it has no adapter yet; its layers are like OPT's",
        "codegen": "it has no adapter yet; its fused matrices are in an order of their own",
        "gemma3n": "every layer adds an embedding of its own, and the residual stream is several streams",
        "gpt_bigcode": "it has no adapter yet; its layers are like GPT-2's, with keys and values shared by all heads",
        "llama4": "it has layers that attend within chunks, and experts whose inputs are multiplied",
        "llama4_text": "it has layers that attend within chunks, and experts whose inputs are multiplied",
        "nemotron": "it has no adapter yet; its activation function is a squared ReLU",
        "persimmon": "it has no adapter yet; its activation function is a squared ReLU",
        "xglm": "its positions are computed sines, added to the token embedding",
        "xlnet": "its tokens attend in permuted orders",
    }
)  # fmt: skip
"""The reason, by model type. A family that is registered for one of these types is used all the same."""
