"""What the entries of Hugging Face configs can be: their types and ranges, checked before anything is made from them.

A config comes from outside. A size of 10^30, a text in place of a number or a base that is NaN is refused by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from neuron_explainer.errors import MisconfiguredError, UnsupportedCheckpointError, shown
from neuron_explainer.vocabulary.checks import finite_number, whole_number

MOST_LAYERS = 4096
MOST_EXPERTS = 2**12
MOST_CHANNELS = 2**20
MOST_TOKENS = 2**26
MOST_POSITIONS = 2**40
LARGEST_NUMBER = 1e15
LAYER_TYPES = ("full_attention", "sliding_attention")

ROPE_NAMES = ("rope_scaling", "rope_parameters")
"""The old name comes first: `transformers` lets it win where a config has both."""


@dataclass(frozen=True)
class ConfigEntry:
    """What an entry can be.

    Attributes:
        accepts: whether a value that is not null is valid.
        description: what it must be, for errors.
        null_is_missing: whether null is allowed, and means that the entry is not set. Otherwise null is refused.
        keeps_null: whether null is allowed, and is a value of its own.
    """

    accepts: Callable[[Any], bool]
    description: str
    null_is_missing: bool = False
    keeps_null: bool = False


def size(largest: int, smallest: int = 1, **options: bool) -> ConfigEntry:
    """A whole number within a range."""

    def accepts(value: Any) -> bool:
        number = whole_number(value)
        return number is not None and smallest <= number <= largest

    return ConfigEntry(accepts, f"a whole number from {smallest} to {largest}", **options)


def positive(largest: float = LARGEST_NUMBER, **options: bool) -> ConfigEntry:
    """A finite number above 0."""

    def accepts(value: Any) -> bool:
        number = finite_number(value)
        return number is not None and 0 < number <= largest

    return ConfigEntry(accepts, f"a number above 0, at most {largest:g}", **options)


def _is_share(value: Any) -> bool:
    number = finite_number(value)
    return number is not None and 0 <= number <= 1


def _is_number_above_0(value: Any) -> bool:
    number = finite_number(value)
    return number is not None and 0 < number <= LARGEST_NUMBER


def _is_layer_types(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)


_FLAG = ConfigEntry(lambda value: isinstance(value, bool), "true or false")
_OPTIONAL_FLAG = ConfigEntry(_FLAG.accepts, _FLAG.description, null_is_missing=True)
_TEXT = ConfigEntry(lambda value: isinstance(value, str), "a text", null_is_missing=True)
_SHARE = ConfigEntry(_is_share, "a number from 0 to 1", null_is_missing=True)
_SETTINGS = ConfigEntry(lambda value: isinstance(value, Mapping), "an object", null_is_missing=True)
_FACTORS = ConfigEntry(
    lambda value: isinstance(value, list | tuple) and len(value) <= 2**16 and all(map(_is_number_above_0, value)),
    "a list of numbers above 0",
    null_is_missing=True,
)
_CHANNELS = size(MOST_CHANNELS, null_is_missing=True)
_POSITIONS = size(MOST_POSITIONS, null_is_missing=True)
_BASE = positive(null_is_missing=True)

USUAL_ENTRIES: Mapping[str, ConfigEntry] = MappingProxyType(
    {
        **dict.fromkeys(("n_layer", "num_hidden_layers"), size(MOST_LAYERS, null_is_missing=True)),
        **dict.fromkeys(
            ("n_embd", "n_head", "n_inner", "hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim"),
            _CHANNELS,
        ),
        "intermediate_size": size(8 * MOST_CHANNELS, null_is_missing=True),
        "vocab_size": size(MOST_TOKENS, null_is_missing=True),
        **dict.fromkeys(
            ("n_positions", "n_ctx", "max_position_embeddings", "original_max_position_embeddings"), _POSITIONS
        ),
        "sliding_window": size(MOST_POSITIONS, keeps_null=True),
        "max_window_layers": size(MOST_POSITIONS, 0),
        **dict.fromkeys(("layer_norm_epsilon", "layer_norm_eps", "rms_norm_eps"), positive()),
        **dict.fromkeys(("hidden_act", "hidden_activation", "activation_function", "activation"), _TEXT),
        **dict.fromkeys(
            (
                "alibi", "bias", "do_layer_norm_before", "enable_bias", "layer_norm_elementwise_affine", "multi_query",
                "new_decoder_architecture", "parallel_attn", "qk_layernorm", "use_bias", "use_qk_norm", "use_qkv_bias",
            ),
            _OPTIONAL_FLAG,
        ),
        **dict.fromkeys(
            ("num_experts", "num_local_experts", "num_experts_per_tok", "decoder_sparse_step"),
            size(MOST_EXPERTS, null_is_missing=True),
        ),
        "moe_intermediate_size": _CHANNELS,
        "norm_topk_prob": _OPTIONAL_FLAG,
        **dict.fromkeys(("swiglu_alpha", "swiglu_limit"), positive(null_is_missing=True)),
        "num_ln_in_parallel_attn": size(2, null_is_missing=True),
        "sliding_window_pattern": size(MOST_LAYERS, null_is_missing=True),
        "rope_local_base_freq": _BASE,
        **dict.fromkeys(
            (
                "add_cross_attention", "attention_bias", "mlp_bias", "scale_attn_by_inverse_layer_idx",
                "scale_attn_weights", "tie_word_embeddings", "use_parallel_residual", "use_sliding_window",
            ),
            _FLAG,
        ),
        **dict.fromkeys(("partial_rotary_factor", "rotary_pct"), _SHARE),
        **dict.fromkeys(("rope_theta", "rotary_emb_base"), _BASE),
        **dict.fromkeys(ROPE_NAMES, _SETTINGS),
        "layer_types": ConfigEntry(_is_layer_types, "a list of texts", null_is_missing=True),
        "query_pre_attn_scalar": positive(),
        **dict.fromkeys(("attn_logit_softcapping", "final_logit_softcapping"), positive(keeps_null=True)),
    }
)  # fmt: skip
"""The entries that the families of this library read, in every family the same."""

ROPE_ENTRIES: Mapping[str, ConfigEntry] = MappingProxyType(
    {
        "rope_theta": _BASE,
        "partial_rotary_factor": _SHARE,
        **dict.fromkeys(("factor", "low_freq_factor", "high_freq_factor"), positive(null_is_missing=True)),
        "original_max_position_embeddings": _POSITIONS,
        **dict.fromkeys(("rope_type", "type"), _TEXT),
        **dict.fromkeys(("attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim"), _BASE),
        **dict.fromkeys(("short_factor", "long_factor"), _FACTORS),
        "truncate": _FLAG,
    }
)
"""The entries of `rope_parameters` and `rope_scaling`."""


def checked_entries(hf_config: Mapping[str, Any], kinds: Mapping[str, ConfigEntry]) -> dict[str, Any]:
    """The entries of a config, each checked; those whose null means that they are not set are left out.

    Args:
        hf_config: the config's entries. Those that are not in `kinds` are returned as they are.
        kinds: what the entries can be.

    Raises:
        MisconfiguredError: an entry has a value that it cannot have.
        UnsupportedCheckpointError: a type of layer is not supported.
    """
    entries = _checked(hf_config, kinds, "")
    unknown = [kind for kind in entries.get("layer_types", ()) if "layer_types" in kinds and kind not in LAYER_TYPES]
    if unknown:
        raise UnsupportedCheckpointError(
            f"layer_types has {shown(unknown[0])}. Choose from: {', '.join(map(repr, LAYER_TYPES))}."
        )
    return entries


def checked_rope_entries(hf_config: Mapping[str, Any], layer_type: str | None = None) -> dict[str, Any]:
    """The settings of the rotary embedding: `rope_scaling` in older configs, else `rope_parameters`; each checked.

    Args:
        hf_config: the config's entries.
        layer_type: the type of layer whose settings are asked for, in a family that has settings by type.

    Raises:
        MisconfiguredError: a setting has a value that it cannot have.
        UnsupportedCheckpointError: there are settings for each type of layer, but `layer_type` is None or not among
            them.
    """
    given = {name: hf_config.get(name) for name in ROPE_NAMES}
    name, settings = next(((name, each) for name, each in given.items() if each), (None, None))
    if name is None:
        return {}
    if not isinstance(settings, Mapping):
        raise MisconfiguredError(f"{name} is {shown(settings)}; it must be {_SETTINGS.description}.")
    nested = [str(key) for key, value in settings.items() if isinstance(value, Mapping)]
    if not nested:
        return _checked(settings, ROPE_ENTRIES, f"{name}.")
    if layer_type is None:
        raise UnsupportedCheckpointError(
            f"{name} has settings for each type of layer ({shown(', '.join(nested))}). Supported: one rotary embedding "
            "for all layers."
        )
    if layer_type not in nested:
        raise UnsupportedCheckpointError(
            f"{name} has no settings for layers of the type {layer_type}. It has some for: {shown(', '.join(nested))}."
        )
    checked = _checked(settings[layer_type], ROPE_ENTRIES, f"{name}.{layer_type}.")
    if checked.get("truncate") is False:
        raise UnsupportedCheckpointError(
            f"{name}.{layer_type}.truncate is false. `transformers` reads it only where all layers have the "
            "same settings, so it is not supported here."
        )
    return checked


def _checked(entries: Mapping[str, Any], kinds: Mapping[str, ConfigEntry], prefix: str) -> dict[str, Any]:
    checked = {}
    for name, value in entries.items():
        kind = kinds.get(name) if isinstance(name, str) else None
        if kind is not None and value is None and kind.null_is_missing:
            continue
        if kind is not None and not (kind.keeps_null if value is None else kind.accepts(value)):
            raise MisconfiguredError(f"{prefix}{name} is {shown(value)}; it must be {kind.description}.")
        checked[name] = value
    return checked
