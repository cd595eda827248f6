"""Train the embedded default model: a GPT-2-shaped transformer of some million parameters, on one CPU thread.

Usage: python tools/train_tiny_model.py --minutes 50 [--corpora build/corpora] [--work build/tiny]
       python tools/train_tiny_model.py --steps 12000       (the same steps on every machine)

Reads the corpora that tools/prepare_corpora.py writes. Trains a byte-level BPE tokenizer, then the model; all corpora
are drawn with equal probability. Writes config.json, model.safetensors (fp16, Hugging Face GPT-2 names),
tokenizer.json, sample.jsonl.gz and training.json into --output. A stopped run continues from the state saved in --work.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn

END_OF_TEXT = "<|endoftext|>"
CORPORA = ("austen", "bible", "python", "wordnet")


@dataclass(frozen=True)
class Shape:
    """The model's shape, in GPT-2's terms."""

    vocabulary: int = 2048
    context: int = 128
    layers: int = 4
    width: int = 128
    heads: int = 4

    def huggingface_config(self, end_of_text: int) -> dict[str, object]:
        """The content of config.json."""
        return {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "vocab_size": self.vocabulary,
            "n_positions": self.context,
            "n_ctx": self.context,
            "n_embd": self.width,
            "n_layer": self.layers,
            "n_head": self.heads,
            "n_inner": None,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": 1e-5,
            "initializer_range": 0.02,
            "attn_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "resid_pdrop": 0.0,
            "scale_attn_weights": True,
            "tie_word_embeddings": True,
            "bos_token_id": end_of_text,
            "eos_token_id": end_of_text,
            "use_cache": True,
            "torch_dtype": "float16",
        }


class Block(nn.Module):
    """Attention, then MLP, each on a normalised residual stream. Linear weights are (out, in)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.width
        self.heads = shape.heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn_in, self.attn_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp_in, self.mlp_out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, stream: Tensor) -> Tensor:
        """The residual stream after this block, from (batch, tokens, width)."""
        batch, length, width = stream.shape
        split = self.attn_in(self.ln_1(stream)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        stream = stream + self.attn_out(mixed.transpose(1, 2).reshape(batch, length, width))
        return stream + self.mlp_out(F.gelu(self.mlp_in(self.ln_2(stream)), approximate="tanh"))


class TinyModel(nn.Module):
    """GPT-2's architecture with tied embeddings and no dropout."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(shape.vocabulary, shape.width), nn.Embedding(shape.context, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.ln_f = nn.LayerNorm(shape.width)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                scale = 1 / math.sqrt(2 * shape.layers) if name.endswith("_out.weight") else 1.0
                nn.init.normal_(parameter, std=scale * (0.02 if name.startswith("w") else shape.width**-0.5 / 2))
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor) -> Tensor:
        """The logits for (batch, tokens)."""
        stream = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        for block in self.blocks:
            stream = block(stream)
        return F.linear(self.ln_f(stream), self.wte.weight)

    def huggingface_state(self) -> dict[str, Tensor]:
        """The weights by their names in GPT2LMHeadModel, whose Conv1D weights are (in, out)."""
        state: dict[str, Tensor] = {"wte.weight": self.wte.weight, "wpe.weight": self.wpe.weight}
        for number, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            layers = {"attn.c_attn": block.attn_in, "attn.c_proj": block.attn_out}
            layers |= {"mlp.c_fc": block.mlp_in, "mlp.c_proj": block.mlp_out}
            for name, layer in layers.items():
                state[f"h.{number}.{name}.weight"], state[f"h.{number}.{name}.bias"] = layer.weight.T, layer.bias
            for name, norm in {"ln_1": block.ln_1, "ln_2": block.ln_2}.items():
                state[f"h.{number}.{name}.weight"], state[f"h.{number}.{name}.bias"] = norm.weight, norm.bias
        state |= {"ln_f.weight": self.ln_f.weight, "ln_f.bias": self.ln_f.bias}
        return {f"transformer.{name}": tensor.detach().contiguous() for name, tensor in state.items()}


# --- text ------------------------------------------------------------------------------------------------------------


def read_documents(folder: Path, corpus: str, split: str) -> list[str]:
    """The documents of one corpus and split."""
    return (folder / f"{corpus}.{split}.txt").read_text(encoding="utf-8").split(END_OF_TEXT)


def train_tokenizer(documents: list[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE: every text can be encoded and comes back unchanged."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return tokenizer


def encode(tokenizer: Tokenizer, documents: list[str]) -> Tensor:
    """One row of tokens: <|endoftext|> before each document."""
    end_of_text = tokenizer.token_to_id(END_OF_TEXT)
    rows = [np.array([end_of_text, *encoding.ids], dtype=np.int64) for encoding in tokenizer.encode_batch(documents)]
    return torch.from_numpy(np.concatenate(rows))


def draw_batch(texts: list[Tensor], windows: int, context: int, generator: torch.Generator) -> Tensor:
    """Windows of context + 1 tokens, as many from each text, from random places."""
    rows = []
    for text in texts:
        starts = torch.randint(len(text) - context, (windows // len(texts), 1), generator=generator)
        rows.append(text[starts + torch.arange(context + 1)])
    return torch.cat(rows)


# --- training --------------------------------------------------------------------------------------------------------


class Optimizer:
    """Muon for the blocks' matrices, AdamW for everything else, on one schedule."""

    def __init__(self, model: TinyModel, muon_rate: float, adam_rate: float, weight_decay: float) -> None:
        matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and name.startswith("blocks")]
        others = [p for name, p in model.named_parameters() if not (p.ndim == 2 and name.startswith("blocks"))]
        adam: dict[str, Any] = {"lr": adam_rate, "betas": (0.9, 0.99), "weight_decay": 0.0, "fused": True}
        if muon_rate:
            muon = torch.optim.Muon(matrices, lr=muon_rate, weight_decay=weight_decay, momentum=0.95)
            self.parts: list[torch.optim.Optimizer] = [muon, torch.optim.AdamW(others, **adam)]
        else:
            groups: list[dict[str, Any]] = [{"params": matrices, "weight_decay": weight_decay}, {"params": others}]
            self.parts = [torch.optim.AdamW(groups, **adam)]
        self.rates = [[group["lr"] for group in part.param_groups] for part in self.parts]

    def step(self, factor: float) -> None:
        """Move the parameters, at `factor` times the learning rates."""
        for part, rates in zip(self.parts, self.rates, strict=True):
            for group, rate in zip(part.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            part.step()
            part.zero_grad(set_to_none=True)

    def state(self) -> list[dict]:
        """What is saved."""
        return [part.state_dict() for part in self.parts]

    def load(self, states: list[dict]) -> None:
        """Continue from a saved state."""
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)


def rate_factor(progress: float, warm_up: float = 0.01, decay_from: float = 0.3) -> float:
    """The learning rate's factor at `progress` (0 to 1): up, level, then straight down to zero."""
    return max(0.0, min(1.0, progress / warm_up + 1e-3, (1 - progress) / (1 - decay_from)))


def loss_of(model: nn.Module, windows: Tensor) -> Tensor:
    """Mean cross-entropy, in nats per token, of each token given those before it."""
    logits = model(windows[:, :-1])
    return F.cross_entropy(logits.float().flatten(0, 1), windows[:, 1:].flatten())


@torch.no_grad()
def heldout_loss(model: nn.Module, text: Tensor, context: int) -> float:
    """Mean loss in nats per token over a text's consecutive windows, in float32."""
    windows = text[: (len(text) - 1) // context * context + 1].unfold(0, context + 1, context)
    losses = [loss_of(model, part).item() * len(part) for part in windows.split(64)]
    return sum(losses) / len(windows)


def save_atomically(state: dict, path: Path) -> None:
    """Write a saved state so that a half-written one is never read."""
    unfinished = path.with_suffix(".unfinished")
    torch.save(state, unfinished)
    os.replace(unfinished, path)


def train(
    model: TinyModel, texts: list[Tensor], heldout: list[Tensor], shape: Shape, arguments: argparse.Namespace
) -> dict[str, float]:
    """Train until the minutes or the steps are used up; the learning rate is zero at that point."""
    optimizer = Optimizer(model, arguments.muon_rate, arguments.adam_rate, arguments.weight_decay)
    saved_state = arguments.work / "saved_state.pt"
    step, before = 0, 0.0
    if saved_state.exists():
        state = torch.load(saved_state, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load(state["optimizer"])
        step, before = state["step"], state["seconds"]
        print(f"continuing from step {step}", flush=True)
    started, saved, mean = time.monotonic(), time.monotonic(), 0.0
    while True:
        seconds = before + time.monotonic() - started
        progress = step / arguments.steps if arguments.steps else seconds / (60 * arguments.minutes)
        if progress >= 1:
            break
        generator = torch.Generator().manual_seed(arguments.seed * 1_000_003 + step)
        windows = draw_batch(texts, arguments.batch, shape.context, generator)
        with torch.autocast("cpu", torch.bfloat16, enabled=arguments.bf16):
            loss = loss_of(model, windows)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step(rate_factor(progress))
        mean = loss.item() if step == 0 else 0.98 * mean + 0.02 * loss.item()
        step += 1
        if step % arguments.log_every == 0:
            rate = step * windows[:, 1:].numel() / (seconds + 1e-9)
            print(f"{progress:6.1%} step {step} loss {mean:.3f} {rate:,.0f} tokens/s", flush=True)
        if step % arguments.evaluate_every == 0:
            losses = [heldout_loss(model, text[:16_385], shape.context) for text in heldout]
            print("held out", " ".join(f"{loss:.3f}" for loss in losses), flush=True)
        if time.monotonic() - saved > 120:
            state = {"model": model.state_dict(), "optimizer": optimizer.state(), "step": step, "seconds": seconds}
            save_atomically(state, saved_state)
            saved = time.monotonic()
    return {"steps": step, "tokens": step * arguments.batch * shape.context, "minutes": round(seconds / 60, 1)}


def main() -> None:
    """Train the tokenizer and the model, and write what the package ships."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, default=Path("build/corpora"))
    parser.add_argument("--work", type=Path, default=Path("build/tiny"), help="where the run's state is saved")
    parser.add_argument("--output", type=Path, default=Path("neuron_explainer/data/tiny"))
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, default=50.0)
    budget.add_argument("--steps", type=int, default=0)
    parser.add_argument("--batch", type=int, default=32, help="windows per step, a multiple of the number of corpora")
    parser.add_argument("--muon-rate", type=float, default=0.02)
    parser.add_argument("--adam-rate", type=float, default=6e-3)
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log-every", type=int, default=100)
    parser.add_argument("--evaluate-every", type=int, default=2_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.output.mkdir(parents=True, exist_ok=True)

    shape = Shape()
    documents = {name: read_documents(arguments.corpora, name, "train") for name in CORPORA}
    tokenizer = train_tokenizer([text for texts in documents.values() for text in texts], shape.vocabulary)
    texts = [encode(tokenizer, documents[name]) for name in CORPORA]
    heldout = [encode(tokenizer, read_documents(arguments.corpora, name, "heldout")) for name in CORPORA]
    print("training tokens", dict(zip(CORPORA, map(len, texts), strict=True)), flush=True)
    model = TinyModel(shape)
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters", flush=True)
    facts: dict[str, object] = dict(train(model, texts, heldout, shape, arguments))

    facts["heldout_nats_a_token"] = {
        name: round(heldout_loss(model, text, shape.context), 4) for name, text in zip(CORPORA, heldout, strict=True)
    }
    facts["shape"] = asdict(shape)
    torch.save(model.state_dict(), arguments.work / "final.pt")
    end_of_text = tokenizer.token_to_id(END_OF_TEXT)
    assert end_of_text is not None
    write_json(arguments.output / "config.json", shape.huggingface_config(end_of_text))
    write_json(arguments.output / "training.json", facts)
    tokenizer.save(str(arguments.output / "tokenizer.json"), pretty=False)
    weights = {name: tensor.half() for name, tensor in model.huggingface_state().items()}
    save_file(weights, arguments.output / "model.safetensors", metadata={"format": "pt"})
    (arguments.output / "model.safetensors").chmod(0o644)
    shutil.copyfile(arguments.corpora / "sample.jsonl.gz", arguments.output / "sample.jsonl.gz")
    print(json.dumps(facts, indent=2))


def write_json(path: Path, value: object) -> None:
    """Write indented JSON."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
