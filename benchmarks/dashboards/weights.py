"""The model, the autoencoder and the tokens that both sides load; run where SAEDashboard is installed.

python -m benchmarks.dashboards.weights OUT
"""

import sys
from pathlib import Path

import torch

from benchmarks.peers.weights import GPT2, write_gpt2

LAYER = 2
EMBEDDING_SCALE = 5.0
"""So that latents promote some tokens by more than 0.3: else SAEDashboard's axes get ticks of a millionth each."""
N_LATENTS, N_SEQUENCES, CONTEXT = 512, 256, 128
HOOK = f"blocks.{LAYER}.hook_resid_post"


def write_autoencoder(folder: Path) -> None:
    """Random latents of unit length, each active at a small part of the tokens."""
    from sae_lens import StandardSAE, StandardSAEConfig
    from sae_lens.saes.sae import SAEMetadata

    metadata = SAEMetadata(model_name="gpt2", hook_name=HOOK, prepend_bos=False, context_size=CONTEXT)
    sae = StandardSAE(
        StandardSAEConfig(d_in=GPT2["n_embd"], d_sae=N_LATENTS, apply_b_dec_to_input=False, metadata=metadata)
    )
    generator = torch.Generator().manual_seed(1)
    directions = torch.nn.functional.normalize(torch.randn(N_LATENTS, GPT2["n_embd"], generator=generator), dim=1)
    with torch.no_grad():
        sae.W_dec.copy_(directions)
        sae.W_enc.copy_(directions.T)
        sae.b_enc.fill_(-1.0)
        sae.b_dec.zero_()
    sae.save_model(folder)


def tokens() -> torch.Tensor:
    """256 sequences of 128 tokens, in which some tokens are much more frequent than others."""
    generator = torch.Generator().manual_seed(2)
    frequencies = 1.0 / torch.arange(1, GPT2["vocab_size"] + 1)
    frequencies[:2] = 0.0  # no words
    return torch.multinomial(frequencies, N_SEQUENCES * CONTEXT, True, generator=generator).view(N_SEQUENCES, CONTEXT)


if __name__ == "__main__":
    write_gpt2(Path(sys.argv[1]) / "gpt2", EMBEDDING_SCALE)
    write_autoencoder(Path(sys.argv[1]) / "autoencoder")
    torch.save(tokens(), Path(sys.argv[1]) / "tokens.pt")
