"""GGUF files of every architecture: the logits of the model that was written, the tensors that `transformers` reads."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

import neuron_explainer as ne
from helpers import gguf_families
from helpers.checkpoints import logits_of, some_tokens
from helpers.gguf_families import CONFIGS, write_family
from helpers.gguf_files import KINDS, write_llama
from helpers.installed_transformers import IS_OLD
from helpers.paths import REPOSITORY
from neuron_explainer.errors import MalformedCheckpointError, UnsupportedCheckpointError
from neuron_explainer.models.checkpoints.gguf import GgufReader
from neuron_explainer.models.checkpoints.gguf_architectures.rope import rotated_share
from neuron_explainer.models.checkpoints.gguf_architectures.table import ARCHITECTURES
from neuron_explainer.models.checkpoints.gguf_config import config_from_gguf
from neuron_explainer.models.tensor_files.gguf_file import GgufFile
from neuron_explainer.notices import AssumedSettingWarning, UnexpectedContentWarning

pytestmark = pytest.mark.skipif(IS_OLD, reason="the files are written from configs as transformers 5 spells them")

CPU = torch.device("cpu")
random_model = functools.cache(gguf_families.random_model)
READ_BY_TRANSFORMERS = (
    "llama", "qwen2", "qwen3", "falcon", "phi4_mini", "stablelm", "starcoder2", "gpt2", "gemma2", "gemma3",
)  # fmt: skip
"""Those whose tensors it reads as its own checkpoints have them. It does not put Falcon's groups together again."""


@functools.cache
def wide_model(name: str) -> transformers.PreTrainedModel:
    """With rows of whole blocks."""
    sizes = {"n_embd": 96} if name == "gpt2" else {"hidden_size": 96, "intermediate_size": 64, "num_attention_heads": 6}
    return gguf_families.random_model(name, num_hidden_layers=1, **sizes)


def assert_same_logits(path: Path, name: str) -> None:
    ours = ne.load_model(path, device="cpu").get_or_create_model()
    for n_tokens in (11, 45):  # within the windows and beyond them, in short contexts and in long ones
        tokens = some_tokens(n_tokens=n_tokens)
        torch.testing.assert_close(ours(tokens), logits_of(random_model(name), tokens), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_same_logits_as_the_model_that_was_written(name: str, tmp_path: Path) -> None:
    assert_same_logits(write_family(tmp_path / "x.gguf", random_model(name)), name)


def test_every_architecture_is_tried() -> None:
    written = {config["model_type"] for config in CONFIGS.values()}
    assert {gguf_families.ARCHITECTURE_BY_TYPE.get(kind, kind) for kind in written} == ARCHITECTURES.keys()


@pytest.mark.parametrize(
    ("name", "kind"), list(zip(READ_BY_TRANSFORMERS, 4 * (KINDS.F16, KINDS.Q8_0, KINDS.Q4_1, KINDS.Q5_0), strict=False))
)
def test_the_same_tensors_as_transformers_reads(name: str, kind: Any, tmp_path: Path) -> None:
    path = write_family(tmp_path / "x.gguf", wide_model(name), kind=kind)
    theirs = load_gguf_checkpoint(path, return_tensors=True, model_to_load=wide_model(name))["tensors"]
    reader = GgufReader(GgufFile.open(path))
    assert set(reader.names()) == set(theirs)
    for tensor in reader.names():
        assert torch.equal(reader.read(tensor, dtype=torch.float32, device=CPU), theirs[tensor]), tensor


def test_gains_lose_their_one_before_they_are_rounded(tmp_path: Path) -> None:
    path = write_family(tmp_path / "x.gguf", random_model("gemma2"))
    name = "model.layers.1.pre_feedforward_layernorm.weight"
    reader = GgufReader(GgufFile.open(path))
    exact = reader.read(name, dtype=torch.float32, device=CPU)
    assert torch.equal(reader.read(name, dtype=torch.bfloat16, device=CPU), exact.bfloat16())


@pytest.mark.parametrize("name", ["llama", "phi"])
def test_queries_keys_and_values_in_one_tensor(name: str, tmp_path: Path) -> None:
    """Older converters of Phi 2, and newer ones when asked, write one matrix for the three."""
    architecture = "phi2" if name == "phi" else name
    written = gguf_families.tensors_of(architecture, random_model(name))
    parts = {
        f"blk.{layer}.attn_qkv.{kind}": [written.pop(f"blk.{layer}.attn_{part}.{kind}") for part in "qkv"]
        for layer in range(3)
        for kind in ("weight", "bias")
    }
    fused = {stored: np.concatenate(rows) for stored, rows in parts.items()}
    assert_same_logits(write_family(tmp_path / "x.gguf", random_model(name), tensors={**written, **fused}), name)


def config_of(path: Path, name: str, **changes: Any) -> dict[str, Any]:
    return config_from_gguf(GgufFile.open(write_family(path / "x.gguf", random_model(name), **changes)))


def test_what_a_file_says_chooses_the_family(tmp_path: Path) -> None:
    def model_type(name: str, **extra: Any) -> str:
        return str(config_of(tmp_path, name, extra=extra)["model_type"])

    assert model_type("mistral", **{"attention.sliding_window": 7}) == "mistral"
    assert model_type("mistral") == "llama"
    assert model_type("olmo2") == "olmo2"
    assert model_type("olmo3") == "olmo3"


def test_windows_by_layer(tmp_path: Path) -> None:
    def slides(name: str, **extra: Any) -> list[bool]:
        return [kind == "sliding_attention" for kind in config_of(tmp_path, name, extra=extra)["layer_types"]]

    assert slides("gemma3") == [True] * 5 + [False, True]
    assert slides("gemma3", **{"attention.sliding_window_pattern": 3}) == [True, True, False] * 2 + [True]
    assert slides("gemma3", **{"attention.sliding_window": 0}) == [False] * 7
    assert slides("gemma2", **{"attention.sliding_window_pattern": [False, False, True]}) == [False, False, True]
    with pytest.raises(MalformedCheckpointError, match=r"sliding_window_pattern must say of each of 3 layers"):
        slides("gemma2", **{"attention.sliding_window_pattern": [True]})


def test_the_largest_gemmas_have_another_scale(tmp_path: Path) -> None:
    file = GgufFile.open(write_family(tmp_path / "x.gguf", random_model("gemma3")))
    assert config_from_gguf(file)["query_pre_attn_scalar"] == 16
    file.metadata["gemma3.block_count"] = 62
    assert config_from_gguf(file)["query_pre_attn_scalar"] == 48 // 6
    file.metadata["gemma3.attention.scale"] = 0.2
    assert config_from_gguf(file)["query_pre_attn_scalar"] == pytest.approx(25)


def test_the_factor_of_attention_in_long_contexts(tmp_path: Path) -> None:
    given = config_of(tmp_path, "phi3", extra={"rope.scaling.attn_factor": 1.75})
    assert given["rope_parameters"]["attention_factor"] == 1.75
    older = config_of(tmp_path, "phi3", extra={"rope.scaling.attn_factor": 0.0})  # the family's rule gives it
    assert "attention_factor" not in older["rope_parameters"]


@pytest.mark.parametrize("d_head", [8, 49, 80, 96, 98, 103])
def test_every_share_of_rotated_channels_comes_back(d_head: int) -> None:
    for n_rotated in range(1, d_head + 1):
        assert int(d_head * rotated_share(n_rotated, d_head)) == n_rotated


REFUSED: dict[str, list[tuple[dict[str, Any], str]]] = {
    "qwen2": [
        ({"attention.scale": 0.3}, r"qwen2\.attention\.scale is 0\.3, which is not supported"),
        ({"attention.sliding_window": 63}, r"qwen2\.attention\.sliding_window is 63"),
        ({"attention.causal": False}, r"qwen2\.attention\.causal is False"),
        ({"attention.value_length": 4}, r"value_length is 4, and keys have 8 channels"),
        ({"rope.dimension_count": 4}, r"rope\.dimension_count is 4.*it must rotate all of them"),
        ({"rope.scaling.type": "longrope"}, r"needs the tensors 'rope_factors_short\.weight'"),
        ({"expert_count": 4}, r"'qwen2' and is a mixture of experts.*can have: 'qwen3moe', "),
    ],
    "qwen2_yarn": [({"rope.scaling.yarn_ext_factor": 0.5}, r"yarn_ext_factor is 0\.5")],
    "phi3": [({"rope.scaling.type": "yarn"}, r"'yarn' together with the tensor 'rope_factors_long\.weight'")],
    "glm4": [
        ({"nextn_predict_layers": 1}, r"glm4\.nextn_predict_layers is 1"),
        ({"rope.dimension_sections": [8, 4, 4, 0]}, r"rope\.dimension_sections"),
        ({"rope.dimension_count": 18}, r"dimension_count is 18.*at most all of them"),
    ],
    "granite": [({"rope.scaling.finetuned": False}, r"no rotary embedding")],
    "gemma3": [({"attn_logit_softcapping": 50.0}, r"gemma3\.attn_logit_softcapping is 50\.0")],
    "gpt2": [({"attention.max_alibi_bias": 8.0}, r"max_alibi_bias is 8\.0")],
    "falcon": [({"attention.key_length": 4}, r"falcon\.attention\.key_length is not 8")],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, tmp_path: Path) -> None:
    for extra, message in REFUSED[name]:
        with pytest.raises((UnsupportedCheckpointError, MalformedCheckpointError), match=message):
            config_of(tmp_path, name, extra=extra)


def test_architectures_that_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    write_llama(path, None, architecture="qwen2moe")
    with pytest.raises(UnsupportedCheckpointError, match=r"'qwen2moe', a mixture of experts\. Supp.*: 'qwen3moe', "):
        ne.load_model(path, device="cpu")
    file = GgufFile.open(write_family(path, random_model("qwen2")))
    file.metadata["split.count"] = 3
    with pytest.raises(UnsupportedCheckpointError, match=r"one of 3 files that belong together.*--merge"):
        config_from_gguf(file)
    file = GgufFile.open(write_family(path, random_model("stablelm")))
    file.tensors["blk.0.attn_q_norm.weight"] = file.tensors["blk.0.attn_norm.weight"]
    with pytest.raises(UnsupportedCheckpointError, match=r"qk_layernorm"):
        GgufReader(file)


def test_what_is_not_known_or_not_said_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    harmless: dict[str, Any] = {"attention.sliding_window": 64, "attention.scale": 0.0, "logit_scale": 1.0}
    write_family(path, random_model("qwen2"), extra={"flux_capacitance": 1.21, **harmless})
    with pytest.warns(UnexpectedContentWarning, match=r"does not know: 'qwen2\.flux_capacitance'\. They") as caught:
        ne.load_model(path, device="cpu")
    assert caught[0].filename == __file__
    write_family(path, random_model("starcoder2"), extra={"context_length": 8192})
    with pytest.warns(AssumedSettingWarning, match=r"published models have one of 4096 tokens"):
        ne.load_model(path, device="cpu")


def test_a_config_that_is_given_is_used(tmp_path: Path) -> None:
    path = write_family(tmp_path / "x.gguf", random_model("mistral"))
    config = {**CONFIGS["mistral"], "sliding_window": 3}
    model = ne.load_model(path, device="cpu", config=config).get_or_create_model()
    assert model.config.sliding_window_by_layer == (3, 3, 3)


def test_the_documentation_names_every_architecture() -> None:
    page = (REPOSITORY / "docs" / "gguf.md").read_text()
    for name in ARCHITECTURES:
        assert f"`{name}`" in page
        assert name in str(ne.load_model.__doc__)
