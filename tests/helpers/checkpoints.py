"""Small models, tokenizers and files that the tests of loading are made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE, WordLevel
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from helpers.installed_transformers import as_installed

TEXTS = [
    "The capital of France is Paris, and the capital of Japan is Tokyo (東京).",
    "When Mary and John went to the store, John gave a drink to Mary.",
    "Numbers such as 3.14159 and 2024 — and signs, “quotes”, naïve café — are text too!\n\n",
] * 4
VOCAB_SIZE = 320


def byte_level_tokenizer(vocab_size: int = VOCAB_SIZE) -> Tokenizer:
    """A byte-level BPE tokenizer that knows every byte, with one special token at the end."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


def small_gpt2(seed: int = 0) -> GPT2LMHeadModel:
    torch.manual_seed(seed)
    config = GPT2Config(n_layer=2, n_embd=24, n_head=3, n_positions=32, vocab_size=VOCAB_SIZE, initializer_range=0.2)
    return GPT2LMHeadModel(config).eval()


def small_llama(*, seed: int = 0, **changes: Any) -> LlamaForCausalLM:
    """A llama with grouped-query attention, all of whose weights (norms too) are random."""
    torch.manual_seed(seed)
    settings: dict[str, Any] = {
        "num_hidden_layers": 2,
        "hidden_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 96,
        "max_position_embeddings": 64,
        "vocab_size": VOCAB_SIZE,
        "tie_word_embeddings": False,
        "initializer_range": 0.2,
    }
    model = LlamaForCausalLM(LlamaConfig(**as_installed(settings | changes))).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.normal_(1.0, 0.1)
    return model


def logits_of(model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(tokens).logits


def some_tokens(n_prompts: int = 2, n_tokens: int = 11) -> torch.Tensor:
    return torch.randint(VOCAB_SIZE, (n_prompts, n_tokens), generator=torch.Generator().manual_seed(5))


def save_folder(model: PreTrainedModel, folder: Path, *, shard_size: str = "1GB") -> Path:
    """Save a model and the tokenizer in Hugging Face's layout."""
    model.save_pretrained(folder, max_shard_size=shard_size)
    byte_level_tokenizer(model.config.vocab_size).save(str(folder / "tokenizer.json"))
    return folder


def constant_gpt2(folder: Path, **sizes: Any) -> Path:
    """Save a GPT-2 whose weights are all the same number, and whose words are t0, t1, …: quickly made at any size."""
    config = GPT2Config(**sizes)
    with torch.device("meta"):
        shapes = {name: weight.shape for name, weight in GPT2LMHeadModel(config).named_parameters()}
    safetensors.torch.save_file(
        {name: torch.full(shape, 0.5) for name, shape in shapes.items()}, folder / "model.safetensors"
    )
    config.save_pretrained(folder)
    words = {f"t{index}": index for index in range(config.vocab_size)}
    Tokenizer(WordLevel(words, unk_token="t0")).save(str(folder / "tokenizer.json"))
    return folder


def save_tdb_pieces(model: GPT2LMHeadModel, folder: Path) -> Path:
    """Save a GPT-2 as Transformer Debugger does: apart, as (outputs, inputs), one pickled tensor a file."""
    config = model.config
    described = {
        "enc": "gpt2",
        "ctx_window": config.n_positions,
        "d_model": config.n_embd,
        "n_layers": config.n_layer,
        "m_attn": 1,
        "n_heads": config.n_head,
        "m_mlp": 4,
    }
    pieces = folder / "model_pieces"
    pieces.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(described))
    weights = model.state_dict()
    saved = {
        "tok_embed.weight": weights["transformer.wte.weight"],
        "pos_embed.weight": weights["transformer.wpe.weight"],
        "unembed.weight": weights["lm_head.weight"],
        "final_ln.weight": weights["transformer.ln_f.weight"],
        "final_ln.bias": weights["transformer.ln_f.bias"],
    }
    for layer in range(config.n_layer):
        theirs, ours = f"transformer.h.{layer}.", f"xf_layers.{layer}."
        for norm in ("ln_1", "ln_2"):
            for kind in ("weight", "bias"):
                saved[f"{ours}{norm}.{kind}"] = weights[f"{theirs}{norm}.{kind}"]
        for index, part in enumerate("qkv"):
            columns = slice(index * config.n_embd, (index + 1) * config.n_embd)
            saved[f"{ours}attn.{part}_proj.weight"] = weights[f"{theirs}attn.c_attn.weight"][:, columns].T
            saved[f"{ours}attn.{part}_proj.bias"] = weights[f"{theirs}attn.c_attn.bias"][columns]
        for their_name, our_name in (
            ("attn.c_proj", "attn.out_proj"),
            ("mlp.c_fc", "mlp.in_layer"),
            ("mlp.c_proj", "mlp.out_layer"),
        ):
            saved[f"{ours}{our_name}.weight"] = weights[f"{theirs}{their_name}.weight"].T
            saved[f"{ours}{our_name}.bias"] = weights[f"{theirs}{their_name}.bias"]
    for name, tensor in saved.items():
        torch.save(tensor.clone(), pieces / f"{name}.pt")
    return folder


def in_llama_cpp_order(rows: np.ndarray, n_heads: int) -> np.ndarray:
    """What llama.cpp's converter does to a query or key weight: a head's two halves are interleaved."""
    halves = rows.reshape(n_heads, 2, rows.shape[0] // n_heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)
