"""What the configurations of many architectures have in common."""

from typing import Any

from neuron_explainer.models.checkpoints.gguf_architectures.entries import Entries
from neuron_explainer.models.checkpoints.gguf_architectures.rope import rope_parameters


def sizes(entries: Entries) -> dict[str, Any]:
    """The sizes of a model, and the ends of its texts."""
    n_heads = entries.size("attention.head_count")
    d_head, d_value = d_head_of(entries), entries.size("attention.value_length", d_head_of(entries))
    if d_value != d_head:
        raise entries.unsupported(
            f"{entries.architecture}.attention.value_length is {d_value}, and keys have {d_head} channels. Both must "
            "be the same"
        )
    head_dim = {} if d_head * n_heads == entries.size("embedding_length") else {"head_dim": d_head}
    return {
        "num_hidden_layers": entries.n_layers(),
        "num_attention_heads": n_heads,
        "num_key_value_heads": entries.size("attention.head_count_kv", n_heads),
        "hidden_size": entries.size("embedding_length"),
        **head_dim,
        "intermediate_size": entries.size("feed_forward_length"),
        "max_position_embeddings": entries.size("context_length"),
        **vocabulary(entries),
    }


def vocabulary(entries: Entries) -> dict[str, Any]:
    """The vocabulary's size, whether the unembedding is the embedding, and the tokens at which llama.cpp stops."""
    kinds = ("eos", "eot", "eom")  # the end of a text, of a turn, and of a message
    ends = [entries.file.metadata.get(f"tokenizer.ggml.{kind}_token_id") for kind in kinds]
    return {
        "vocab_size": entries.n_rows("token_embd.weight"),
        "tie_word_embeddings": not entries.has_tensor("output.weight"),
        "eos_token_id": [end for end in ends if end is not None] or None,
    }


def d_head_of(entries: Entries) -> int:
    """The number of channels of a head; without an entry the heads share the residual stream's."""
    shared = entries.size("embedding_length") // entries.size("attention.head_count")
    return entries.size("attention.key_length", shared)


def has_bias(entries: Entries, part: str) -> bool:
    """Whether a matrix has a bias; queries may be in one matrix with keys and values."""
    return entries.has_tensor(f"blk.0.{part}.bias") or (part == "attn_q" and entries.has_tensor("blk.0.attn_qkv.bias"))


def rotary(entries: Entries, *, partly: bool = False) -> dict[str, Any]:
    """The rotary embedding; `partly` is whether the family can rotate a share of the channels."""
    return {"rope_parameters": rope_parameters(entries, d_head_of(entries), partly=partly)}


def with_rms_norm(entries: Entries) -> dict[str, Any]:
    """The sizes, and the epsilon of RMSNorm."""
    return {**sizes(entries), "rms_norm_eps": entries.number("attention.layer_norm_rms_epsilon")}
