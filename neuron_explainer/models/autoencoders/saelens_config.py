"""The `cfg.json` that SAELens writes beside an autoencoder's weights, of every version, checked."""

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neuron_explainer.errors import AutoencoderFormatError
from neuron_explainer.models.autoencoders.places import AutoencoderOrigin

CONFIG_FILE = "cfg.json"
_MOST_BYTES = 1_000_000  # the files are about 1 KB

_PLACE_BY_HOOK = {
    "hook_resid_pre": "previous_layer_resid_post_mlp",
    "hook_resid_mid": "resid_post_attn",
    "hook_resid_post": "resid_post_mlp",
    "hook_attn_out": "resid_delta_attn",
    "hook_mlp_out": "resid_delta_mlp",
    "mlp.hook_pre": "mlp_pre_act",
    "mlp.hook_post": "mlp_post_act",
    "attn.hook_z": "attn_weighted_sum_of_values",
}
_RESIDUAL_WIDTH_HOOKS = ("hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_attn_out", "hook_mlp_out")
_OLD_KEYS = {
    "hook_point": "hook_name",
    "hook_point_head_index": "hook_head_index",
    "activation_fn_str": "activation_fn",
}


@dataclass(frozen=True)
class SaelensConfig:
    """What `cfg.json` says, whichever version of SAELens wrote it.

    Attributes:
        folder: where it was read from.
        architecture: "standard", "topk", …
        n_inputs: `d_in`.
        n_latents: `d_sae`.
        subtracts_output_bias: `apply_b_dec_to_input`.
        input_normalization: `normalize_activations`.
        settings: everything at the top level.
        metadata: where and how it was trained.
    """

    folder: str
    architecture: str
    n_inputs: int
    n_latents: int
    subtracts_output_bias: bool
    input_normalization: str
    settings: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def hook(self) -> str | None:
        """The hook's name within its layer."""
        name = self.metadata.get("hook_name")
        return None if name is None else re.sub(r"^blocks\.\d+\.", "", str(name))

    @property
    def is_of_centred_model(self) -> bool:
        """Whether it was trained on residual-stream numbers of a model whose writing weights had been centred."""
        options = self.metadata.get("model_from_pretrained_kwargs") or {}
        return bool(options.get("center_writing_weights")) and self.hook in _RESIDUAL_WIDTH_HOOKS

    @property
    def origin(self) -> AutoencoderOrigin:
        """Its place, layer and base model in our words.

        Raises:
            AutoencoderFormatError: its hook is none of the places known here.
        """
        place, layer_index = place_of_hook(self.metadata.get("hook_name"), self.folder)
        return AutoencoderOrigin(place, layer_index, self.metadata.get("model_name"), self.architecture, self.metadata)


def place_of_hook(hook_name: object, source: str) -> tuple[str | None, int | None]:
    """The value of our derived scalar type, and the layer, for a TransformerLens hook such as `blocks.3.mlp.hook_post`.

    Without a hook, (None, None).

    Raises:
        AutoencoderFormatError: the hook is none of the places known here.
    """
    if hook_name is None:
        return None, None
    match = re.fullmatch(r"blocks\.(\d{1,6})\.(.+)", str(hook_name))
    if match is None or match[2] not in _PLACE_BY_HOOK:
        known = ", ".join(f"blocks.L.{hook}" for hook in _PLACE_BY_HOOK)
        raise AutoencoderFormatError(f"{source}: the hook {hook_name!r} is no place known here; known are: {known}.")
    return _PLACE_BY_HOOK[match[2]], int(match[1])


def read_saelens_config(folder: str | os.PathLike[str]) -> SaelensConfig:
    """Read and check a folder's `cfg.json`.

    Raises:
        AutoencoderFormatError: it is missing, no JSON, or lacks or contradicts what is needed.
    """
    source = os.fspath(folder)
    path = Path(folder) / CONFIG_FILE
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        settings = json.loads(content) if len(content) <= _MOST_BYTES else None
    except (OSError, ValueError) as error:
        raise AutoencoderFormatError(f"{path} cannot be read: {error}.") from error
    if not isinstance(settings, dict):
        raise AutoencoderFormatError(f"{path} is no JSON object of at most {_MOST_BYTES} bytes.")
    metadata = settings.get("metadata")
    if not isinstance(metadata, dict):  # before version 6, everything stood at the top level
        settings = {_OLD_KEYS.get(key, key): value for key, value in settings.items()}
        metadata = settings
        settings = _with_old_defaults(settings)
    return SaelensConfig(
        source,
        _value(settings, "architecture", str, source),
        _size(settings, "d_in", source),
        _size(settings, "d_sae", source),
        _value(settings, "apply_b_dec_to_input", bool, source, True),
        _value(settings, "normalize_activations", str, source, "none"),
        settings,
        metadata,
    )


def _with_old_defaults(settings: dict[str, Any]) -> dict[str, Any]:
    defaulted = {"architecture": "standard", **settings}
    activation, options = settings.get("activation_fn", "relu"), settings.get("activation_fn_kwargs") or {}
    if activation == "topk" and isinstance(options, dict) and "k" in options:
        defaulted |= {"architecture": "topk", "k": options["k"]}
    normalization = settings.get("normalize_activations")
    if normalization is None or isinstance(normalization, bool):
        defaulted["normalize_activations"] = "expected_average_only_in" if normalization else "none"
    return defaulted


def _value(settings: dict[str, Any], key: str, kind: type, source: str, default: Any = None) -> Any:
    value = settings.get(key, default)
    if not isinstance(value, kind):
        raise AutoencoderFormatError(
            f"{source}: {CONFIG_FILE} gives {key} as {value!r:.100}; a {kind.__name__} is needed."
        )
    return value


def _size(settings: dict[str, Any], key: str, source: str) -> int:
    size = _value(settings, key, int, source)
    if isinstance(size, bool) or not 0 < size < 2**31:
        raise AutoencoderFormatError(f"{source}: {CONFIG_FILE} gives {key} as {size}.")
    return int(size)
