"""The public neuron datasets: OpenAI's, for GPT-2."""

from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

PUBLIC_BASE = "https://openaipublic.blob.core.windows.net/neuron-explainer/"

_MLP = DerivedScalarType.MLP_POST_ACT
_MLP_LATENT = DerivedScalarType.MLP_AUTOENCODER_LATENT
_ATTENTION_LATENT = DerivedScalarType.ATTENTION_AUTOENCODER_LATENT
_TO_LATENT_BY_PAIR = DerivedScalarType.FLATTENED_ATTN_WRITE_TO_LATENT_SUMMED_OVER_HEADS
_LATENTS = "gpt2_small/autoencoder_latent"

# fmt: off
PUBLIC_DATASETS: list[tuple[str, DerivedScalarType, str, str, int, int]] = [
    ("gpt2-xl", _MLP, "GPT-2 XL - MLP neurons",
     "data/collated-activations/", 48, 6400),
    ("gpt2-small", _MLP, "GPT-2 small - MLP neurons",
     "gpt2_small_data/collated-activations/", 12, 3072),
    ("gpt2-small", DerivedScalarType.ATTN_WRITE_NORM, "GPT-2 small - Attention write by token pair",
     "gpt2_small/attn_write_norm/collated-activations-by-token-pair", 12, 12),
    ("gpt2-small_ae-mlp-post-act-v1", _MLP_LATENT, "GPT-2 small - MLP autoencoder (post-act) v1",
     f"{_LATENTS}/mlp_post_act_v1/collated-activations", 12, 32768),
    ("gpt2-small_ae-resid-delta-mlp-v1", _MLP_LATENT, "GPT-2 small - MLP autoencoder (write) v1",
     f"{_LATENTS}/resid_delta_mlp_v1/collated-activations", 12, 32768),
    ("gpt2-small_ae-mlp-post-act-v4", _MLP_LATENT, "GPT-2 small - MLP autoencoder (post-act) v4",
     f"{_LATENTS}/mlp_post_act_v4/collated-activations", 12, 32768),
    ("gpt2-small_ae-resid-delta-mlp-v4", _MLP_LATENT, "GPT-2 small - MLP autoencoder (write) v4",
     f"{_LATENTS}/resid_delta_mlp_v4/collated-activations", 12, 32768),
    ("gpt2-small_ae-resid-delta-attn-v4", _ATTENTION_LATENT, "GPT-2 small - Attention autoencoder (write) v4",
     f"{_LATENTS}/resid_delta_attn_v4/collated-activations", 12, 10240),
    ("gpt2-small_ae-resid-delta-attn-v4", _TO_LATENT_BY_PAIR,
     "GPT-2 small - Attention autoencoder (write) v4 by token pair",
     f"{_LATENTS}/resid_delta_attn_v4/collated-activations-by-token-pair", 12, 10240),
]
"""Short name, derived scalar type, visible name, path under PUBLIC_BASE, layers, components per layer."""
# fmt: on

PUBLIC_EXPLANATIONS = {
    ("gpt2-xl", _MLP): PUBLIC_BASE + "data/explanations/",
    ("gpt2-small", _MLP): PUBLIC_BASE + "gpt2_small_data/explanations/",
}
"""The addresses of published explanations, by (short name, derived scalar type) of the dataset."""
