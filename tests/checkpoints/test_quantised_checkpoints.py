"""Quantised checkpoints are refused by name: by the config, by the tensors' names, by their dtypes, and in memory."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import neuron_explainer as ne
from helpers.checkpoints import save_folder, small_llama
from neuron_explainer.errors import UnsupportedCheckpointError

_REMEDY = "from its original weights or from a GGUF file.*dequantise"
_LAYER = "model.layers.0.mlp.up_proj"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_folder(small_llama(), tmp_path / "small")


def refusal(source: Any) -> str:
    with pytest.raises(UnsupportedCheckpointError, match=_REMEDY) as caught:
        ne.load_model(source, device="cpu")
    return str(caught.value)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "(bitsandbytes, 8 bits)"),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "(bitsandbytes, 4 bits)"),
        ({"quant_method": "gptq", "bits": 4}, "(gptq, 4 bits)"),
        ({"quant_method": "awq", "bits": 4}, "(awq, 4 bits)"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "(fp8)"),
        ({"quant_method": 7}, "(the method is not named)"),
        ("yes", "(the method is not named)"),
    ],
)
def test_the_config_says_so(folder: Path, settings: Any, says: str) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "quantization_config": settings}))
    assert says in refusal(folder)


def test_the_config_of_mlx_says_so_too(folder: Path) -> None:
    file = folder / "config.json"
    settings = {"group_size": 64, "bits": 4}
    file.write_text(json.dumps({**json.loads(file.read_text()), "quantization": settings}))
    assert "says that the weights are quantised" in refusal(folder)


@pytest.mark.parametrize("settings", [None, {}])
def test_an_empty_entry_says_nothing(folder: Path, settings: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "quantization_config": settings}))
    assert ne.load_model(folder, device="cpu").n_layers == 2


def _eight_bits(*parts: str) -> dict[str, torch.Tensor]:
    return {f"{_LAYER}.{part}": torch.ones(4, dtype=torch.uint8) for part in parts}


@pytest.mark.parametrize(
    ("tensors", "method"),
    [
        ({**_eight_bits("weight"), f"{_LAYER}.SCB": torch.ones(4)}, "bitsandbytes, 8 bits"),
        (_eight_bits("weight", "weight.absmax", "weight.quant_map"), "bitsandbytes, 4 bits"),
        (_eight_bits("qweight", "qzeros", "scales", "g_idx"), "GPTQ"),
        (_eight_bits("qweight", "qzeros", "scales"), "AWQ or GPTQ"),
        ({f"{_LAYER}.weight": torch.ones(4, 4).to(torch.float8_e4m3fn)}, "fp8"),
        ({f"{_LAYER}.weight_scale_inv": torch.ones(1)}, "fp8"),
        (_eight_bits("weight_packed"), "compressed-tensors"),
        ({f"{_LAYER}.weight": torch.ones(4, dtype=torch.int8)}, "whole numbers, I8"),
        (_eight_bits("weight._data", "weight._scale"), "quanto"),
        (_eight_bits("weight:_data", "weight:_scale"), "whole numbers, U8"),
        (_eight_bits("codes", "codebooks", "scales"), "AQLM"),
        (_eight_bits("q_weight", "q_scale"), "EXL2"),
        (_eight_bits("trellis", "suh", "svh"), "EXL3"),
    ],
)
def test_the_tensors_say_so(folder: Path, tensors: dict[str, torch.Tensor], method: str) -> None:
    weights = folder / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(weights).items() if not name.startswith(_LAYER)}
    save_file({**kept, **tensors}, weights)
    message = refusal(folder)
    assert f"({method})" in message
    assert _LAYER in message
    assert str(weights) in message


def test_a_model_in_memory_says_so_and_a_dequantised_one_is_loaded() -> None:
    model = small_llama()
    model.config.quantization_config = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    assert ne.load_model(model).n_layers == 2  # its weights are plain numbers again, whatever the config still says
    layer = model.model.layers[0].mlp.up_proj
    layer.weight = torch.nn.Parameter(layer.weight.to(torch.int8), requires_grad=False)
    layer.register_buffer("SCB", torch.ones(4))
    assert "LlamaForCausalLM in memory" in refusal(model)
    assert "(bitsandbytes, 8 bits)" in refusal(model)
