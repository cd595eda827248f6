"""Weights of gpt_oss in MXFP4 are dequantised as `transformers` does; damaged ones are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

import neuron_explainer as ne
from benchmarks.small_models import SMALL_CONFIGS, number_tokenizer
from helpers.installed_transformers import hf_config_of, model_of
from helpers.tiny_models import random_tokens
from neuron_explainer.errors import MalformedCheckpointError, NonFiniteTensorError, UnsupportedCheckpointError
from neuron_explainer.models.tensor_files.mxfp4 import dequantised

_SETTINGS = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}
_NAMES = [
    f"model.layers.{layer}.mlp.experts.{matrix}" for layer in range(3) for matrix in ("gate_up_proj", "down_proj")
]


def packed(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random blocks, and scales around 1/4."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, 256, (*shape, 16), generator=generator, dtype=torch.uint8)
    return blocks, torch.randint(122, 127, shape, generator=generator, dtype=torch.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A gpt_oss whose experts are in MXFP4, as they are published."""
    config = hf_config_of({**SMALL_CONFIGS["gpt_oss"], "intermediate_size": 32})
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    for number, name in enumerate(_NAMES):
        experts, inputs, outputs = tensors.pop(name).shape
        tensors[f"{name}_blocks"], tensors[f"{name}_scales"] = packed(experts, outputs, inputs // 32, seed=number)
    save_file(tensors, file)
    entries = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**entries, "quantization_config": _SETTINGS}))
    return tmp_path


def load(folder: Path, **options: Any) -> ne.StandardModelContext:
    return ne.load_model(folder, device="cpu", tokenizer=number_tokenizer(), **options)


def changed(folder: Path, **changes: Any) -> None:
    file = folder / "model.safetensors"
    save_file({**load_file(file), **changes}, file)


def test_every_byte_and_scale_is_dequantised_as_transformers_does() -> None:
    blocks = torch.arange(256, dtype=torch.uint8).view(1, 4, 4, 16).expand(1, 4, 4, 16)
    for scale in (1, 100, 126, 127, 128, 200, 250):
        scales = torch.full((1, 4, 4), scale, dtype=torch.uint8)
        theirs = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
        assert torch.equal(dequantised(blocks[0], scales[0]).T, theirs[0])


def test_a_folder_gives_what_the_dequantised_weights_give(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    for name in _NAMES:
        blocks, scales = tensors.pop(f"{name}_blocks"), tensors.pop(f"{name}_scales")
        tensors[name] = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32).contiguous()
    config = hf_config_of({**SMALL_CONFIGS["gpt_oss"], "intermediate_size": 32})
    theirs = model_of(config)
    theirs.load_state_dict(tensors)
    tokens = random_tokens(2, 9)
    ours = load(folder)
    torch.testing.assert_close(ours.get_or_create_model()(tokens), theirs(tokens).logits, rtol=0, atol=1e-4)
    assert load(folder, dtype="bfloat16").get_or_create_model().dtype == torch.bfloat16


def test_a_scale_that_is_not_a_number_is_refused(folder: Path) -> None:
    _, scales = packed(4, 64, 1)
    scales[2, 5] = 255
    changed(folder, **{f"{_NAMES[0]}_scales": scales})
    with pytest.raises(NonFiniteTensorError, match="gate_up_proj_blocks"):
        load(folder)


@pytest.mark.parametrize(
    "blocks",
    [
        torch.zeros(4, 64, 1, 15, dtype=torch.uint8),
        torch.zeros(4, 64, 16, dtype=torch.uint8),
        torch.zeros(4, 64, 1, 16, dtype=torch.int8),
        torch.zeros(3, 64, 1, 16, dtype=torch.uint8),
    ],
)
def test_blocks_that_do_not_fit_their_scales_are_refused(folder: Path, blocks: torch.Tensor) -> None:
    changed(folder, **{f"{_NAMES[0]}_blocks": blocks})
    with pytest.raises(MalformedCheckpointError, match="gate_up_proj_blocks"):
        load(folder)


def test_mxfp4_of_another_family_is_refused(folder: Path) -> None:
    entries = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**entries, **SMALL_CONFIGS["mixtral"]}))
    with pytest.raises(UnsupportedCheckpointError, match="mxfp4"):
        load(folder)
