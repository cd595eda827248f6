"""The families by model type, and how to add one."""

from collections.abc import Mapping
from typing import Any

from neuron_explainer.errors import (
    CheckpointError,
    InvalidRequestError,
    MalformedCheckpointError,
    MisconfiguredError,
    UnsupportedCheckpointError,
    nearest_first,
    shown,
)
from neuron_explainer.models.families.config_entries import checked_entries
from neuron_explainer.models.families.family import Family
from neuron_explainer.models.families.like_gpt.falcon import FalconFamily
from neuron_explainer.models.families.like_gpt.gpt2 import GPT2Family
from neuron_explainer.models.families.like_gpt.gpt_neo import GPTNeoFamily
from neuron_explainer.models.families.like_gpt.gpt_neox import GPTNeoXFamily
from neuron_explainer.models.families.like_gpt.gptj import GPTJFamily
from neuron_explainer.models.families.like_gpt.opt import OPTFamily
from neuron_explainer.models.families.like_gpt.phi import PhiFamily
from neuron_explainer.models.families.like_llama.cohere import Cohere2Family, CohereFamily
from neuron_explainer.models.families.like_llama.experts import MixtralFamily, OlmoeFamily, Qwen3MoeFamily
from neuron_explainer.models.families.like_llama.fused import Glm4Family, Phi3Family
from neuron_explainer.models.families.like_llama.gemma import Gemma2Family, Gemma3Family, Gemma3TextFamily
from neuron_explainer.models.families.like_llama.gpt_oss import GptOssFamily
from neuron_explainer.models.families.like_llama.granite import GraniteFamily
from neuron_explainer.models.families.like_llama.mistral import Ministral3Family, MinistralFamily, MistralFamily
from neuron_explainer.models.families.like_llama.olmo import Olmo2Family, Olmo3Family
from neuron_explainer.models.families.like_llama.qwen import Qwen2Family, Qwen3Family
from neuron_explainer.models.families.like_llama.smollm3 import SmolLM3Family
from neuron_explainer.models.families.like_llama.with_layer_norm import StableLMFamily, Starcoder2Family
from neuron_explainer.models.families.llama import LlamaFamily
from neuron_explainer.models.families.read_entries import ReadEntries
from neuron_explainer.models.families.unread_entries import named_as_in_class, unknown_entries, warn_of_unknown_entries
from neuron_explainer.models.families.unsupported_types import REASON_BY_MODEL_TYPE
from neuron_explainer.models.layers.mlp import ACTIVATION_FUNCTIONS
from neuron_explainer.models.transformer_config import TransformerConfig
from neuron_explainer.vocabulary.checks import checked_type

FAMILY_BY_MODEL_TYPE: dict[str, Family] = {
    family.model_type: family
    for family in (
        GPT2Family(),
        GPTNeoFamily(),
        GPTNeoXFamily(),
        GPTJFamily(),
        OPTFamily(),
        FalconFamily(),
        PhiFamily(),
        LlamaFamily(),
        MistralFamily(),
        MinistralFamily(),
        Ministral3Family(),
        Qwen2Family(),
        Qwen3Family(),
        Gemma2Family(),
        Gemma3TextFamily(),
        Gemma3Family(),
        SmolLM3Family(),
        Olmo2Family(),
        Olmo3Family(),
        Phi3Family(),
        Glm4Family(),
        StableLMFamily(),
        Starcoder2Family(),
        GraniteFamily(),
        CohereFamily(),
        Cohere2Family(),
        MixtralFamily(),
        Qwen3MoeFamily(),
        OlmoeFamily(),
        GptOssFamily(),
    )
}
"""The families, by the `model_type` of Hugging Face configs."""


def family_of(hf_config: Mapping[str, Any]) -> Family:
    """The family of a Hugging Face config.

    Raises:
        UnsupportedCheckpointError: its `model_type` is missing or not supported.
    """
    model_type = hf_config.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILY_BY_MODEL_TYPE:
        choices = nearest_first(shown(model_type), FAMILY_BY_MODEL_TYPE)
        reason = REASON_BY_MODEL_TYPE.get(model_type) if isinstance(model_type, str) else None
        because = "" if reason is None else f": {reason}"
        raise UnsupportedCheckpointError(
            f"The model type {shown(model_type, 40)} is not supported{because}. Choose one of: "
            f"{', '.join(choices)}. docs/adding_a_family.md shows how to add one."
        )
    return FAMILY_BY_MODEL_TYPE[model_type]


def family_and_config(hf_config: Mapping[str, Any]) -> tuple[Family, TransformerConfig]:
    """The family of a Hugging Face config, and our config of the model.

    Raises:
        CheckpointError: the family or the activation function is not supported, or an entry has a value that it cannot
            have, or one that the family does not support.
        UnknownConfigEntryWarning: the config has entries that nobody knows.
    """
    family = family_of(hf_config)
    try:
        entries = ReadEntries(checked_entries(named_as_in_class(hf_config, family), family.entries))
        config = family.config(entries)
        unknown = unknown_entries(family, entries, config)
    except CheckpointError:
        raise
    except (
        MisconfiguredError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError
    ) as error:  # fmt: skip
        raise MalformedCheckpointError(
            f"An entry has a value that a {family.model_type} model cannot have: {error!s:.300}"
        ) from error
    if not isinstance(config.activation_function, str) or config.activation_function not in ACTIVATION_FUNCTIONS:
        raise UnsupportedCheckpointError(
            f"The activation function {shown(config.activation_function)} is not supported. Choose one of: "
            f"{', '.join(ACTIVATION_FUNCTIONS)}."
        )
    warn_of_unknown_entries(family.model_type, unknown)
    return family, config


def register_family(family: Family, *, replace: bool = False) -> None:
    """Add a family for a `model_type`; `docs/adding_a_family.md` has a complete example.

    Raises:
        InvalidRequestError: the `model_type` has a family already and `replace` is not set, or `family` is not an
            instance of `Family`.
    """
    checked_type("family", family, Family)  # type: ignore[type-abstract]  # it only asks isinstance
    if not isinstance(getattr(family, "model_type", None), str):
        raise InvalidRequestError(f"{type(family).__name__} has no model_type. Give it the one of its configs.")
    if family.model_type in FAMILY_BY_MODEL_TYPE and not replace:
        raise InvalidRequestError(
            f"The model type {family.model_type!r} has a family already. Pass replace=True to replace it."
        )
    FAMILY_BY_MODEL_TYPE[family.model_type] = family
