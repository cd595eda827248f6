"""The architectures by llama.cpp's names."""

from neuron_explainer.errors import UnsupportedCheckpointError, nearest_first, shown
from neuron_explainer.models.checkpoints.gguf_architectures import by_layer, experts, like_gpt, like_llama
from neuron_explainer.models.checkpoints.gguf_architectures.architecture import Architecture
from neuron_explainer.models.checkpoints.gguf_architectures.entries import Entries
from neuron_explainer.models.tensor_files.gguf_file import GgufFile

ARCHITECTURES: dict[str, Architecture] = {
    "llama": Architecture(like_llama.llama, pairs_are_neighbours=True, may_have_experts=True),
    "mistral3": Architecture(like_llama.ministral3, pairs_are_neighbours=True),
    "smollm3": Architecture(like_llama.smollm3, pairs_are_neighbours=True),
    "granite": Architecture(like_llama.granite, pairs_are_neighbours=True),
    "qwen2": Architecture(like_llama.qwen2),
    "qwen3": Architecture(like_llama.qwen3),
    "gemma2": Architecture(by_layer.gemma2, gains_have_one_added=True),
    "gemma3": Architecture(by_layer.gemma3, gains_have_one_added=True),
    "olmo2": Architecture(by_layer.olmo2),
    "phi3": Architecture(like_llama.phi3),
    "glm4": Architecture(like_llama.glm4),
    "stablelm": Architecture(like_llama.stablelm),
    "starcoder2": Architecture(like_llama.starcoder2),
    "command-r": Architecture(like_llama.cohere),
    "cohere2": Architecture(by_layer.cohere2),
    "gpt2": Architecture(like_gpt.gpt2, matrices_are_transposed=True),
    "gptneox": Architecture(like_gpt.gpt_neox, fused_by_kind=True),
    "falcon": Architecture(like_gpt.falcon, fused_by_kind=True),
    "phi2": Architecture(like_gpt.phi),
    "qwen3moe": Architecture(experts.qwen3_moe, may_have_experts=True),
    "olmoe": Architecture(experts.olmoe, may_have_experts=True),
    "gpt-oss": Architecture(experts.gpt_oss, may_have_experts=True, names={"mlp_norm": "post_attention_norm"}),
}
"""Those that are read."""

MIXTURES_OF_EXPERTS = (
    "dbrx", "deepseek2", "ernie4_5-moe", "glm4moe", "granitemoe", "grok", "hunyuan-moe", "llama4", "phimoe",
    "qwen2moe",
)  # fmt: skip
"""Those that are not read and whose MLPs are made of experts, for a refusal that says why."""


def architecture_of(file: GgufFile) -> Architecture:
    """The architecture of a file.

    Raises:
        UnsupportedCheckpointError: it is not supported, or not with experts, or the file is a part of several.
    """
    name = file.metadata.get("general.architecture")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        reason = ", a mixture of experts" if name in MIXTURES_OF_EXPERTS else ""
        choices = nearest_first(str(name)[:100], ARCHITECTURES)
        raise UnsupportedCheckpointError(
            f"{file.path} has the architecture {shown(name)}{reason}. Supported in GGUF files: "
            f"{', '.join(map(repr, choices))}. Load the model from its safetensors files.",
            file=file.path,
        )
    if not ARCHITECTURES[name].may_have_experts and Entries(file, name).get("expert_count", 0):
        choices = nearest_first(name, [each for each, known in ARCHITECTURES.items() if known.may_have_experts])
        raise UnsupportedCheckpointError(
            f"{file.path} has the architecture {name!r} and is a mixture of experts, which is not supported together. "
            f"Mixtures of experts can have: {', '.join(map(repr, choices))}.",
            file=file.path,
        )
    n_files = file.metadata.get("split.count", 1)
    if n_files not in (0, 1):
        raise UnsupportedCheckpointError(
            f"{file.path} is one of {shown(n_files)} files that belong together. Make one of them: "
            "llama-gguf-split --merge FIRST-FILE NEW-FILE.",
            file=file.path,
        )
    return ARCHITECTURES[name]
