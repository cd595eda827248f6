"""The `cfg.json` that SAELens writes beside an autoencoder's weights: every version, checked."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from neuron_explainer.errors import AutoencoderFormatError, shown
from neuron_explainer.models.autoencoders.origin import NODE_TYPE_BY_DST, AutoencoderOrigin
from neuron_explainer.models.autoencoders.variants.transcoder import TranscoderInput
from neuron_explainer.storage.local import opened_file
from neuron_explainer.vocabulary.checks import finite_number, whole_number
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.hook_names import PLACE_BY_HOOK, RESID_PRE, layer_and_hook

CONFIG_FILE = "cfg.json"
_MOST_BYTES = 1_000_000  # the files are about 1 KB

_DST_BY_PLACE = {dst.raw_place: dst for dst in NODE_TYPE_BY_DST}
_DST_BY_HOOK = {
    hook: DerivedScalarType.PREVIOUS_LAYER_RESID_POST_MLP if hook == RESID_PRE else _DST_BY_PLACE[place]
    for hook, place in PLACE_BY_HOOK.items()
    if place in _DST_BY_PLACE
}
_INPUT_BY_HOOK = {hook.value: hook for hook in TranscoderInput} | {"hook_resid_mid": TranscoderInput.RESIDUAL}
_OUTPUT_HOOKS = ("hook_mlp_out", "mlp.hook_out")
"""What the MLP writes: after its post-norm, in models that have one; and before it."""
_RESIDUAL_WIDTH_HOOKS = (
    "hook_resid_pre",
    "hook_resid_mid",
    "hook_resid_post",
    "hook_attn_out",
    "hook_mlp_out",
    "hook_mlp_in",
)
_OLD_KEYS = {
    "hook_point": "hook_name",
    "hook_point_head_index": "hook_head_index",
    "activation_fn_str": "activation_fn",
}


@dataclass(frozen=True)
class SaelensConfig:
    """The entries of `cfg.json`, whichever version of SAELens wrote it.

    Attributes:
        source: what errors call the autoencoder: its folder, or the type of an object in memory.
        folder: the folder with the weights and other files; None for an object in memory.
        architecture: "standard", "topk", …
        n_inputs: `d_in`.
        n_latents: `d_sae`.
        subtracts_output_bias: `apply_b_dec_to_input`.
        input_normalization: `normalize_activations`.
        settings: all entries at the top level.
        metadata: where and how the autoencoder was trained.
        input_scale: the factor of all inputs, if it is known from elsewhere than the folder.
    """

    source: str
    folder: Path | None
    architecture: str
    n_inputs: int
    n_latents: int
    subtracts_output_bias: bool
    input_normalization: str
    settings: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    input_scale: float | None = None

    @property
    def hook(self) -> str | None:
        """The name of the hook within its layer, such as `hook_mlp_out`."""
        name = self.metadata.get("hook_name")
        return None if name is None else layer_and_hook(name)[1] or str(name)

    @property
    def is_of_centred_model(self) -> bool:
        """Whether it was trained on residual-stream activations of a model whose writing weights had been centred."""
        return self.has_centred_weights and self.hook in _RESIDUAL_WIDTH_HOOKS

    @property
    def has_centred_weights(self) -> bool:
        """Whether the writing weights of the model that it was trained on had been centred."""
        return self._was_asked_for("center_writing_weights")

    @property
    def has_folded_norms(self) -> bool:
        """Whether the norms of the model that it was trained on had been folded into the weights after them."""
        return self._was_asked_for("fold_ln")

    def _was_asked_for(self, option: str) -> bool:
        options = self.metadata.get("model_from_pretrained_kwargs")
        return isinstance(options, dict) and bool(options.get(option))

    @property
    def is_transcoder(self) -> bool:
        """Whether it predicts another place than it reads."""
        return "transcoder" in self.architecture

    @property
    def transcoder_input(self) -> TranscoderInput | None:
        """What a transcoder reads, if that and what it predicts are of one MLP, or the output is not said."""
        layer, hook = layer_and_hook(self.metadata.get("hook_name"))
        output = self.metadata.get("hook_name_out")
        if layer is None or (output is not None and layer_and_hook(output) not in {(layer, o) for o in _OUTPUT_HOOKS}):
            return None
        return _INPUT_BY_HOOK.get(hook)

    @property
    def predicts_before_post_norm(self) -> bool:
        """Whether a transcoder predicts what the MLP gives before its post-norm."""
        return layer_and_hook(self.metadata.get("hook_name_out"))[1] == "mlp.hook_out"

    def number(self, key: str, default: float, *, above: float = 0.0, or_equal: bool = False) -> float:
        """A setting that is a finite number above a limit.

        Raises:
            AutoencoderFormatError: it is not.
        """
        number = finite_number(self.settings.get(key, default))
        if number is None or not (number >= above if or_equal else number > above):
            self._refuse(key, f"a finite number {'of at least' if or_equal else 'above'} {above:g}")
        return number

    def count(self, key: str, default: int, most: int = 2**31) -> int:
        """A setting that is a whole number from 1 to `most`.

        Raises:
            AutoencoderFormatError: it is not.
        """
        number = whole_number(self.settings.get(key, default))
        if number is None or not 0 < number <= most:
            self._refuse(key, f"a whole number from 1 to {most}")
        return number

    def _refuse(self, key: str, must_be: str) -> NoReturn:
        raise AutoencoderFormatError(
            f"{self.source}: {key} in {CONFIG_FILE} is {shown(self.settings.get(key), 100)}; it must be {must_be}."
        )

    @property
    def origin(self) -> AutoencoderOrigin:
        """The derived scalar type, layer, base model and width; of a transcoder, the type that it predicts.

        Raises:
            AutoencoderFormatError: the hook is not supported.
        """
        dst: DerivedScalarType | None
        if self.is_transcoder:
            layer_index = layer_and_hook(self.metadata.get("hook_name"))[0]
            dst = None if self.transcoder_input is None else DerivedScalarType.RESID_DELTA_MLP
        else:
            dst, layer_index = dst_and_layer_of_hook(self.metadata.get("hook_name"), self.source)
        model_name = self.metadata.get("model_name")
        if model_name is not None and not isinstance(model_name, str):
            raise AutoencoderFormatError(
                f"{self.source}: model_name in {CONFIG_FILE} is {shown(model_name, 100)}; it must be a text."
            )
        return AutoencoderOrigin(
            dst,
            layer_index,
            model_name,
            self.architecture,
            self.n_inputs,
            self.count("d_out", self.n_inputs) if self.is_transcoder else None,
            metadata=self.metadata,
        )


def dst_and_layer_of_hook(hook_name: object, source: str) -> tuple[DerivedScalarType | None, int | None]:
    """The derived scalar type and the layer of a TransformerLens hook such as `blocks.3.mlp.hook_post`.

    (None, None) for None.

    Raises:
        AutoencoderFormatError: the hook is not supported.

    >>> dst_and_layer_of_hook("blocks.3.mlp.hook_post", "the folder")
    (<DerivedScalarType.MLP_POST_ACT: 'mlp_post_act'>, 3)
    """
    if hook_name is None:
        return None, None
    layer_index, hook = layer_and_hook(hook_name)
    if hook not in _DST_BY_HOOK:
        known = ", ".join(f"blocks.L.{hook}" for hook in _DST_BY_HOOK)
        raise AutoencoderFormatError(f"{source}: unsupported hook {shown(hook_name, 100)}. Supported: {known}.")
    return _DST_BY_HOOK[hook], layer_index


def read_saelens_config(folder: str | os.PathLike[str]) -> SaelensConfig:
    """Read and check a folder's `cfg.json`.

    Raises:
        AutoencoderFormatError: the file is missing or not JSON, or a required entry is missing or invalid.
    """
    return saelens_config(read_settings(Path(folder) / CONFIG_FILE), os.fspath(folder), Path(folder))


def read_settings(path: Path) -> dict[str, Any]:
    """The entries of a file like `cfg.json`.

    Raises:
        AutoencoderFormatError: the file is missing, not JSON, or too large.
    """
    try:
        with opened_file(path) as file:
            content = file.read(_MOST_BYTES + 1)
        settings = json.loads(content) if len(content) <= _MOST_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise AutoencoderFormatError(f"{path} cannot be read: {error!s:.300}.") from error
    if not isinstance(settings, dict):
        raise AutoencoderFormatError(f"{path} is not a JSON object of at most {_MOST_BYTES} bytes.")
    return settings


def saelens_config(settings: Mapping[str, Any], source: str, folder: Path | None = None) -> SaelensConfig:
    """The config in the entries of a `cfg.json`, or of the `cfg` of an object in memory.

    Raises:
        AutoencoderFormatError: a required entry is missing or invalid.
    """
    settings = dict(settings)
    metadata = settings.get("metadata")
    if not isinstance(metadata, dict):  # before version 6, all entries were at the top level
        settings = {_OLD_KEYS.get(key, key): value for key, value in settings.items()}
        metadata = settings
        settings = _with_old_defaults(settings)
    return SaelensConfig(
        source,
        folder,
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
    if "topk" in (activation, defaulted["architecture"]) and isinstance(options, dict) and "k" in options:
        defaulted |= {"architecture": "topk", "k": options["k"]}
    normalization = settings.get("normalize_activations")
    if normalization is None or isinstance(normalization, bool):
        defaulted["normalize_activations"] = "expected_average_only_in" if normalization else "none"
    return defaulted


def _value(settings: dict[str, Any], key: str, kind: type, source: str, default: Any = None) -> Any:
    value = settings.get(key, default)
    if not isinstance(value, kind):
        raise AutoencoderFormatError(
            f"{source}: {key} in {CONFIG_FILE} is {shown(value, 100)}; it must be of type {kind.__name__}."
        )
    return value


def _size(settings: dict[str, Any], key: str, source: str) -> int:
    size = _value(settings, key, int, source)
    if isinstance(size, bool) or not 0 < size < 2**31:
        raise AutoencoderFormatError(f"{source}: {key} in {CONFIG_FILE} is {size}; it must be 1 or more.")
    return int(size)
