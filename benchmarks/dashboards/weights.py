"""The model, the autoencoder and the tokens that both sides load; run where SAEDashboard is installed.

python -m benchmarks.dashboards.weights OUT
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks.peers.weights import GPT2, write_gpt2

LAYER = 2
EMBEDDING_SCALE = 5.0
"""So that latents promote some tokens by more than 0.3: else SAEDashboard's axes get ticks of a millionth each."""
N_LATENTS, N_SEQUENCES, CONTEXT = 512, 256, 128
HOOK = f"blocks.{LAYER}.hook_resid_post"


def write_autoencoder(folder: Path) -> None:
    """A folder in SAELens' form: random latents of unit length, each active at a small part of the tokens."""
    generator = torch.Generator().manual_seed(1)
    directions = torch.nn.functional.normalize(torch.randn(N_LATENTS, GPT2["n_embd"], generator=generator), dim=1)
    weights = {
        "W_enc": directions.T.contiguous(),
        "W_dec": directions,
        "b_enc": torch.full((N_LATENTS,), -1.0),
        "b_dec": torch.zeros(GPT2["n_embd"]),
    }
    settings = {
        "architecture": "standard",
        "d_in": GPT2["n_embd"],
        "d_sae": N_LATENTS,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": False,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"model_name": "gpt2", "hook_name": HOOK, "prepend_bos": False, "context_size": CONTEXT},
    }
    folder.mkdir(parents=True)
    (folder / "cfg.json").write_text(json.dumps(settings))
    save_file(weights, folder / "sae_weights.safetensors")


def tokens() -> torch.Tensor:
    """256 sequences of 128 tokens, in which some tokens are much more frequent than others."""
    generator = torch.Generator().manual_seed(2)
    frequencies = 1.0 / torch.arange(1, GPT2["vocab_size"] + 1)
    frequencies[:2] = 0.0  # no words
    return torch.multinomial(frequencies, N_SEQUENCES * CONTEXT, True, generator=generator).view(N_SEQUENCES, CONTEXT)


if __name__ == "__main__":
    write_gpt2(Path(sys.argv[1]) / "gpt2", EMBEDDING_SCALE)
    write_autoencoder(Path(sys.argv[1]) / "autoencoder")
    (Path(sys.argv[1]) / "tokens.json").write_text(json.dumps(tokens().tolist()))
