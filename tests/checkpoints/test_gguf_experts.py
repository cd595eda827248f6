"""GGUF files of mixtures of experts: every layout of the experts' tensors, quantised ones, and what is refused."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

import neuron_explainer as ne
from helpers import gguf_families
from helpers.checkpoints import logits_of, some_tokens
from helpers.gguf_experts import as_older_files, with_gates_and_ups_together
from helpers.gguf_families import ARCHITECTURE_BY_TYPE, tensors_of, write_family
from helpers.gguf_files import KINDS
from helpers.installed_transformers import IS_OLD
from neuron_explainer.errors import (
    CheckpointError,
    MalformedCheckpointError,
    MissingTensorError,
    NonFiniteTensorError,
    UnexpectedTensorError,
    UnsupportedCheckpointError,
)
from neuron_explainer.models.checkpoints.gguf import GgufReader
from neuron_explainer.models.checkpoints.gguf_config import config_from_gguf
from neuron_explainer.models.tensor_files.gguf_file import GgufFile

pytestmark = pytest.mark.skipif(IS_OLD, reason="the files are written from configs as transformers 5 spells them")

CPU = torch.device("cpu")
FAMILIES = ["mixtral", "qwen3_moe", "olmoe", "gpt_oss"]
REFUSED: dict[str, Any] = {
    "expert_weights_scale": 2.5, "leading_dense_block_count": 1, "expert_shared_count": 1, "expert_gating_func": 2,
    "expert_group_count": 4, "expert_used_count": 0, "expert_count": 10**6,
}  # fmt: skip
random_model = functools.cache(gguf_families.random_model)

Tensors = dict[str, np.ndarray]


def written(name: str) -> Tensors:
    return tensors_of(ARCHITECTURE_BY_TYPE.get(name, name), random_model(name))


@functools.cache
def wide_model(name: str) -> transformers.PreTrainedModel:
    """With rows of whole blocks."""
    width = {"moe_intermediate_size" if name == "qwen3_moe" else "intermediate_size": 32}
    return gguf_families.random_model(name, num_hidden_layers=2, hidden_size=64, num_attention_heads=4, **width)


def logits(path: Path, **options: Any) -> torch.Tensor:
    model = ne.load_model(path, device="cpu", **options).get_or_create_model()
    with torch.no_grad():
        return model(some_tokens(n_tokens=11))


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("mixtral", as_older_files),
        ("qwen3_moe", with_gates_and_ups_together),
        ("gpt_oss", with_gates_and_ups_together),
    ],
)
def test_other_layouts_of_the_experts_give_the_same_logits(
    name: str, layout: Callable[[Mapping[str, np.ndarray]], Tensors], tmp_path: Path
) -> None:
    tensors = layout(written(name))
    assert tensors.keys() != written(name).keys()
    path = write_family(tmp_path / "x.gguf", random_model(name), tensors=tensors)
    expected = logits_of(random_model(name), some_tokens(n_tokens=11))
    torch.testing.assert_close(logits(path), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("mixtral", KINDS.Q8_0), ("qwen3_moe", KINDS.Q4_0), ("olmoe", KINDS.F16), ("gpt_oss", KINDS.MXFP4)],
)
def test_quantised_experts_are_what_the_gguf_package_makes_of_the_whole_tensor(
    name: str, kind: Any, tmp_path: Path
) -> None:
    path = write_family(tmp_path / "x.gguf", wide_model(name), kind=kind)
    whole = {each.name: gguf.dequantize(each.data, each.tensor_type) for each in gguf.GGUFReader(path).tensors}
    reader = GgufReader(GgufFile.open(path))
    n_experts = 0
    for tensor in reader.names():
        stored = reader.stored_name(tensor)
        if "exps" in stored:
            stacked, _, expert = stored.removesuffix("]").partition("[")
            read = reader.read(tensor, dtype=torch.float32, device=CPU)
            assert np.array_equal(read.numpy(), whole[stacked][int(expert)]), tensor
            assert tuple(read.shape) == reader.shape(tensor)
            n_experts += 1
    per_layer = {"mixtral": 3 * 5, "qwen3_moe": 3 * 7, "olmoe": 3 * 6, "gpt_oss": 6 * 5}  # with the biases of gpt_oss
    assert n_experts == 2 * per_layer[name]


def codes_in_llama_cpp_order(blocks: torch.Tensor, scales: torch.Tensor) -> np.ndarray:
    """MXFP4 as gpt-oss is published to llama.cpp's: the scale, then bytes of codes that are 16 apart."""
    codes = torch.stack((blocks % 16, blocks // 16), dim=-1).flatten(-2)
    stored = codes[..., :16] + 16 * codes[..., 16:]
    return torch.cat((scales[..., None], stored), dim=-1).flatten(-2).contiguous().numpy()


def as_published(path: Path) -> tuple[Path, transformers.PreTrainedModel]:
    """A gpt-oss whose experts are in MXFP4, and the model of the dequantised weights."""
    torch.manual_seed(0)
    model = gguf_families.random_model("gpt_oss", num_hidden_layers=2, hidden_size=64, intermediate_size=32)
    stored: Tensors = {}
    for layer in range(2):
        experts: Any = model.get_submodule(f"model.layers.{layer}.mlp.experts")
        for matrix, (outputs, inputs) in {"gate_up_proj": (64, 64), "down_proj": (64, 32)}.items():
            blocks = torch.randint(0, 256, (5, outputs, inputs // 32, 16), dtype=torch.uint8)
            scales = torch.randint(122, 126, (5, outputs, inputs // 32), dtype=torch.uint8)
            dequantised = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
            getattr(experts, matrix).data = dequantised.contiguous()
            if matrix == "down_proj":
                stored[f"blk.{layer}.ffn_down_exps.weight"] = codes_in_llama_cpp_order(blocks, scales)
            else:
                for start, part in enumerate(("gate", "up")):
                    rows = codes_in_llama_cpp_order(blocks[:, start::2], scales[:, start::2])
                    stored[f"blk.{layer}.ffn_{part}_exps.weight"] = rows
    return write_family(path, model, tensors={**tensors_of("gpt-oss", model), **stored}), model


def test_gpt_oss_as_it_is_published(tmp_path: Path) -> None:
    path, model = as_published(tmp_path / "x.gguf")
    in_memory = logits(path)
    torch.testing.assert_close(in_memory, logits_of(model, some_tokens(n_tokens=11)), atol=1e-4, rtol=1e-4)
    assert torch.equal(logits(path, offload="disk"), in_memory)


def test_weights_can_stay_on_disk(tmp_path: Path) -> None:
    path = write_family(tmp_path / "x.gguf", wide_model("mixtral"), kind=KINDS.Q8_0)
    assert torch.equal(logits(path, offload="disk"), logits(path))


def config_of(path: Path, name: str, **extra: Any) -> dict[str, Any]:
    return config_from_gguf(GgufFile.open(write_family(path / "x.gguf", random_model(name), extra=extra)))


def test_what_a_file_says_and_does_not_say(tmp_path: Path) -> None:
    def sums_to_one(name: str, **extra: Any) -> Any:
        return config_of(tmp_path, name, **extra)["norm_topk_prob"]

    assert sums_to_one("qwen3_moe")
    assert not sums_to_one("qwen3_moe", expert_weights_norm=False)
    assert not sums_to_one("olmoe")
    assert sums_to_one("olmoe", expert_weights_norm=True)
    shared = config_of(tmp_path, "qwen3_moe", feed_forward_length=36, expert_feed_forward_length=0)
    assert shared["moe_intermediate_size"] == 12
    assert config_of(tmp_path, "mixtral", **{"attention.sliding_window": 5})["sliding_window"] == 5
    gpt_oss = config_of(tmp_path, "gpt_oss", expert_gating_func=3)
    assert gpt_oss["layer_types"] == ["sliding_attention", "full_attention", "sliding_attention"]
    assert gpt_oss["rope_parameters"]["truncate"] is False
    config_of(tmp_path, "olmoe", expert_weights_scale=1.0, expert_gating_func=1, expert_shared_count=0)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_refused_by_name(name: str, tmp_path: Path) -> None:
    whole = GgufFile.open(write_family(tmp_path / "x.gguf", random_model(name)))
    architecture = whole.metadata["general.architecture"]
    for entry, value in REFUSED.items():
        changed = replace(whole, metadata={**whole.metadata, f"{architecture}.{entry}": value})
        with pytest.raises(CheckpointError, match=rf"{architecture}\.{entry} is {value}"):
            config_from_gguf(changed)


def test_mixtral_whose_weights_do_not_sum_to_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCheckpointError, match=r"llama\.expert_weights_norm is False"):
        config_of(tmp_path, "mixtral", expert_weights_norm=False)


def refusal(path: Path, error: type[CheckpointError], name: str, tensors: Tensors, **extra: Any) -> str:
    with pytest.raises(error) as caught:
        ne.load_model(write_family(path / "x.gguf", random_model(name), tensors=tensors, extra=extra), device="cpu")
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_layer_without_experts_is_refused(tmp_path: Path) -> None:
    tensors = written("qwen3_moe")
    del tensors["blk.1.ffn_gate_inp.weight"]
    message = refusal(tmp_path, MissingTensorError, "qwen3_moe", tensors)
    assert "Layer 1 has no tensor 'blk.1.ffn_gate_inp.weight', the router of its experts." in message


def test_another_number_of_experts_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, MalformedCheckpointError, "olmoe", written("olmoe"), expert_count=7)
    assert "'blk.0.ffn_gate_inp.weight' has shape [6, 48]; the first axis must be that of 7 experts" in message
    name = "blk.1.ffn_up_exps.weight"
    tensors = {**written("olmoe"), name: written("olmoe")[name][:5]}
    message = refusal(tmp_path, MalformedCheckpointError, "olmoe", tensors)
    assert f"'{name}' has shape [5, 20, 48]; the first axis must be that of 6 experts" in message
    message = refusal(tmp_path, CheckpointError, "olmoe", written("olmoe"), expert_used_count=7)
    assert "from 1 to 6" in message


def test_shared_experts_are_refused_by_their_tensors(tmp_path: Path) -> None:
    tensors = {**written("olmoe"), "blk.0.ffn_up_shexp.weight": np.zeros((20, 48), np.float32)}
    assert "blk.0.ffn_up_shexp.weight" in refusal(tmp_path, UnexpectedTensorError, "olmoe", tensors)


def test_an_expert_that_is_not_finite_is_named(tmp_path: Path) -> None:
    tensors = written("gpt_oss")
    tensors["blk.2.ffn_down_exps.weight"][3, 5, 7] = np.nan
    message = refusal(tmp_path, NonFiniteTensorError, "gpt_oss", tensors)
    assert "blk.2.ffn_down_exps.weight[3]" in message


def test_many_layers_of_many_experts_that_are_not_there_are_refused_at_once(tmp_path: Path) -> None:
    whole = GgufFile.open(write_family(tmp_path / "x.gguf", random_model("mixtral")))
    larger = {"llama.block_count": 4096, "llama.expert_count": 4096}
    with pytest.raises(MalformedCheckpointError, match="that of 4096 experts"):
        GgufReader(replace(whole, metadata={**whole.metadata, **larger}))
    del larger["llama.expert_count"]
    with pytest.raises(MissingTensorError, match="Layer 3 has no tensor"):
        GgufReader(replace(whole, metadata={**whole.metadata, **larger}))
