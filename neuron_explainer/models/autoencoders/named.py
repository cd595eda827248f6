"""The published autoencoders that have a name: OpenAI's for GPT-2 small."""

import os

from neuron_explainer.models.autoencoder_context import AutoencoderConfig
from neuron_explainer.models.autoencoders.input_scaling import InputScaling
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

_ROOT = "https://openaipublic.blob.core.windows.net/sparse-autoencoder/gpt2-small"
_BASE_MODEL = "gpt2-small"
_N_LAYERS = 12

NAMED_AUTOENCODERS: dict[str, tuple[DerivedScalarType, str]] = {
    "ae-mlp-post-act-v1": (DerivedScalarType.MLP_POST_ACT, "mlp_post_act"),
    "ae-mlp-post-act-v4": (DerivedScalarType.MLP_POST_ACT, "mlp_post_act_v4"),
    "ae-resid-delta-mlp-v1": (DerivedScalarType.RESID_DELTA_MLP, "resid_delta_mlp"),
    "ae-resid-delta-mlp-v4": (DerivedScalarType.RESID_DELTA_MLP, "resid_delta_mlp_v4"),
    "ae-resid-delta-attn-v4": (DerivedScalarType.RESID_DELTA_ATTN, "resid_delta_attn_v4"),
    **{
        f"ae-{dst.value.replace('_', '-')}-v5-{size}": (dst, f"{dst.value}_v5_{size}")
        for dst in (
            DerivedScalarType.RESID_DELTA_ATTN,
            DerivedScalarType.RESID_DELTA_MLP,
            DerivedScalarType.RESID_POST_ATTN,
            DerivedScalarType.RESID_POST_MLP,
        )
        for size in ("32k", "128k")
    },
}
"""The derived scalar type and the folder of each name. v1 and v4 are ReLU autoencoders, v5 (2024) are TopK."""


def named_autoencoders() -> list[str]:
    """The names that `load_autoencoders` knows."""
    return sorted(NAMED_AUTOENCODERS)


def known_name(asked: str) -> str | None:
    """The name of autoencoders that `asked` is, in any case; None if it is not one, or is an existing path."""
    name = asked.lower()
    return name if name in NAMED_AUTOENCODERS and not os.path.exists(asked) else None


def named_autoencoder_config(name: str) -> AutoencoderConfig:
    """The config of the autoencoders of a name: an address for every layer.

    Raises:
        KeyError: `NAMED_AUTOENCODERS` does not have the name.
    """
    dst, folder = NAMED_AUTOENCODERS[name]
    paths = {layer: f"{_ROOT}/{folder}/autoencoders/{layer}.pt" for layer in range(_N_LAYERS)}
    scaling = InputScaling.LAYER_NORM if "-v5-" in name else None  # v5 are TopK, trained by sparse_autoencoder
    return AutoencoderConfig(dst, paths, _BASE_MODEL, name, scaling)
