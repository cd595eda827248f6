"""SAEDashboard 0.8: what `SaeVisRunner.run` gives, with its default layout or with whole sequences as examples."""

import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.dashboards.weights import HOOK, N_LATENTS


def hooked_model(folder: Path) -> Any:
    """The folder's GPT-2 in TransformerLens 2, its weights as they are; no hub is asked."""
    from sae_lens import HookedSAETransformer
    from transformer_lens import HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions.gpt2 import convert_gpt2_weights
    from transformers import GPT2LMHeadModel

    theirs = GPT2LMHeadModel.from_pretrained(folder).eval()
    config = HookedTransformerConfig(
        n_layers=theirs.config.n_layer,
        d_model=theirs.config.n_embd,
        n_ctx=theirs.config.n_positions,
        d_head=theirs.config.n_embd // theirs.config.n_head,
        n_heads=theirs.config.n_head,
        d_mlp=4 * theirs.config.n_embd,
        d_vocab=theirs.config.vocab_size,
        act_fn="gelu_new",
        normalization_type="LN",
        device="cpu",
    )
    model = HookedSAETransformer(config)
    weights = convert_gpt2_weights(theirs, config)
    model.load_and_process_state_dict(
        weights, fold_ln=False, center_writing_weights=False, center_unembed=False, fold_value_biases=False
    )
    return model.eval()


class Side:
    """The model, the autoencoder and the tokens."""

    def __init__(self, folder: Path) -> None:
        from sae_lens import SAE

        self.model = hooked_model(folder / "gpt2")
        self.autoencoder = SAE.load_from_disk(folder / "autoencoder", device="cpu")
        self.tokens = torch.tensor(json.loads((folder / "tokens.json").read_text()))

    def run(self, whole_sequences: bool) -> Any:
        """Dashboards of all latents, in memory: nothing is written."""
        from sae_dashboard.sae_vis_data import SaeVisConfig
        from sae_dashboard.sae_vis_runner import SaeVisRunner

        config = SaeVisConfig(hook_point=HOOK, features=list(range(N_LATENTS)))
        if whole_sequences:
            config.feature_centric_layout.seq_cfg.buffer = None
        return SaeVisRunner(config).run(encoder=self.autoencoder, model=self.model, tokens=self.tokens)

    def maxima(self) -> list[float]:
        """The largest activation of each latent."""
        return list(self.run(False).feature_stats.max)
