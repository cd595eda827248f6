"""Llama Scope: JumpReLU autoencoders of Llama 3.1 8B, each `hyperparams.json` and `checkpoints/final.safetensors`."""

from dataclasses import replace
from typing import Any

import torch

from neuron_explainer.errors import AutoencoderFormatError, shown
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.origin import AutoencoderOrigin
from neuron_explainer.models.autoencoders.published.files import PublishedFiles
from neuron_explainer.models.autoencoders.published.stored_form import StoredForm
from neuron_explainer.models.autoencoders.saelens.architectures import build_autoencoder
from neuron_explainer.models.autoencoders.saelens.config import SaelensConfig, read_settings, saelens_config
from neuron_explainer.models.autoencoders.saelens.weights import Weights, read_tensors
from neuron_explainer.vocabulary.checks import finite_number

SETTINGS_FILE = "hyperparams.json"
WEIGHTS = "checkpoints/final.safetensors"
_MODEL = "meta-llama/Llama-3.1-8B"
_NAMES = {"encoder.weight": "W_enc", "decoder.weight": "W_dec", "encoder.bias": "b_enc", "decoder.bias": "b_dec"}
_MUST_BE = {"act_fn": "jumprelu", "use_glu_encoder": False, "apply_decoder_bias_to_pre_encoder": False}
"""Settings that change results, and the only value of each that is read here, which is also that of a missing one."""


class LlamaScopeForm(StoredForm):
    """Llama Scope's form."""

    def describe(self, files: PublishedFiles) -> AutoencoderOrigin:
        """What `hyperparams.json` says."""
        return self._config(files)[0].origin

    def load(self, files: PublishedFiles, dtype: torch.dtype | None) -> tuple[Autoencoder, AutoencoderOrigin]:
        """See the base class. Weights come in float32 unless `dtype` is float64: the scale is folded into them."""
        config, threshold = self._config(files)
        files.required(WEIGHTS)
        wide = torch.promote_types(dtype or torch.float32, torch.float32)
        stored = read_tensors(config, WEIGHTS, "the weights are needed")
        tensors = {_NAMES.get(name, name): tensor.to(wide) for name, tensor in stored.items()}
        for name in ("W_enc", "W_dec"):
            if name in tensors and tensors[name].ndim == 2:
                tensors[name] = tensors[name].T.contiguous()
        tensors["threshold"] = torch.full((config.n_latents,), threshold, dtype=wide, device="cpu")
        return build_autoencoder(config, Weights(tensors)), config.origin

    def _config(self, files: PublishedFiles) -> tuple[SaelensConfig, float]:
        """The config, and the threshold of scaled inputs."""
        autoencoder, release = files.autoencoder, files.autoencoder.release
        path = files.required(SETTINGS_FILE)
        settings = read_settings(path)

        def refuse(what: str) -> AutoencoderFormatError:
            return AutoencoderFormatError(f"{autoencoder.name}: {what} in {SETTINGS_FILE} is not supported.")

        for key, value in _MUST_BE.items():
            if settings.get(key, value) != value:
                raise refuse(f"{key} {shown(settings[key], 100)}")
        hook = settings.get("hook_point_in")
        if settings.get("hook_point_out", hook) != hook:
            raise refuse(f"hook_point_out {shown(settings['hook_point_out'], 100)}, which is not hook_point_in,")
        norms: Any = settings.get("dataset_average_activation_norm")
        norm = finite_number(norms.get("in")) if isinstance(norms, dict) else None
        threshold = finite_number(settings.get("jump_relu_threshold"))
        if norm is None or norm <= 0 or threshold is None or threshold < 0:
            raise refuse("a missing or negative dataset_average_activation_norm or jump_relu_threshold")
        given = {
            "architecture": "jumprelu",
            "d_in": settings.get("d_model"),
            "d_sae": settings.get("d_sae"),
            "apply_b_dec_to_input": False,
            "normalize_activations": "expected_average_only_in",
            "metadata": {"model_name": _MODEL, "hook_name": hook},
        }
        config = saelens_config(given, autoencoder.name, path.parent)
        scale = config.n_inputs**0.5 / norm  # which the table repeats
        known = None if release is None else release.scale_by_id.get(autoencoder.sae_id)
        return replace(config, input_scale=scale if known is None else known), threshold * scale
