"""Autoencoders from outside: OpenAI's files, and SAELens folders."""

import io
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

import neuron_explainer as ne
from fuzz.mutations import mutated_bytes, mutated_json
from fuzz.pytorch_mutations import mutated_pytorch, zipped
from fuzz.target import Scene, Target
from fuzz.tensor_mutations import mutated_safetensors
from helpers.autoencoder_files import N_INPUTS, N_LATENTS, state_dict

_FILE = "autoencoder.pt"
_SCALER, _WHITENING = "activation_scaler.json", "activation_whitening.safetensors"
_HOOKS = {"hook_name": "blocks.3.mlp.hook_post"}
_TRANSCODER_HOOKS = {"hook_name": "blocks.3.ln2.hook_normalized", "hook_name_out": "blocks.3.hook_mlp_out"}
_WEIGHTS, _CONFIG = "sae_weights.safetensors", "cfg.json"


def _check_autoencoder(source: Path) -> None:
    autoencoder, origin = ne.load_autoencoder(source, "cpu")
    inputs = torch.linspace(-1, 1, N_INPUTS)[None]
    assert autoencoder.encode(inputs).shape == (1, N_LATENTS)
    assert autoencoder.reconstruct(inputs).shape == (1, N_INPUTS)
    assert repr(autoencoder)
    assert repr(origin)


def _saved(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def _pytorch_scenes(folder: Path) -> list[Scene]:
    top_k = {"activation": "TopK", "activation_state_dict": {"k": 2, "postact_fn": "ReLU"}}
    used = {"stats_last_nonzero": torch.arange(N_LATENTS)}
    valid = [_saved(state_dict(**others)) for others in ({}, top_k, used)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, of kinds of tensors that may change
        unusual = [_saved(content) for content in _unusual()]
    return [
        *(Scene({_FILE: content}, _FILE, mutated_pytorch) for content in valid),
        *(Scene({_FILE: content}, _FILE, mutated_pytorch, is_valid=False) for content in unusual),
        Scene({_FILE: _bomb()}, _FILE, mutated_bytes, is_valid=False),
    ]


def _unusual() -> list[Any]:
    """State dicts whose encoder is a tensor of an unusual kind, and what is no state dict."""
    weight = torch.ones(N_LATENTS, N_INPUTS)
    tensors = [
        weight.to_sparse(),
        weight.to_sparse_csr(),
        weight.to("meta"),
        torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8),
        weight.to(torch.float8_e4m3fn),
        torch.nested.nested_tensor([weight[0], weight[1][:2]]),
        torch.ones(1, 1).expand(N_LATENTS, N_INPUTS),
        torch.ones(1, 1).expand(2**20, 2**20),
        weight.to(torch.complex64),
        weight.bool(),
        weight.new_empty(0, N_INPUTS),
        torch.nn.Parameter(weight),
        weight * float("nan"),
    ]
    return [{**state_dict(), "encoder.weight": tensor} for tensor in tensors] + [[], None, {"a": [weight]}, weight]


def _bomb() -> bytes:
    """A file of few bytes that a reader would unpack to a hundred megabytes."""
    return zipped([("archive/data.pkl", b"\0" * 10**8)], zipfile.ZIP_DEFLATED)


def _read_pytorch(folder: Path) -> None:
    _check_autoencoder(folder / _FILE)


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2)) * 0.4


def _saelens_folder(architecture: str, hooks: dict[str, str] | None = None, **settings: Any) -> dict[str, bytes]:
    tensors = {
        "W_enc": _random(N_INPUTS, N_LATENTS),
        "W_dec": _random(N_LATENTS, N_INPUTS),
        "b_dec": _random(N_INPUTS),
        "b_enc": _random(N_LATENTS),
    }
    of_latents = {"gated": ("b_mag", "r_mag", "b_gate"), "jumprelu": ("threshold",)}
    tensors |= {name: _random(N_LATENTS).abs() for name in of_latents.get(architecture, ())}
    for name in {"gated": ["b_enc"], "matching_pursuit": ["W_enc", "b_enc"]}.get(architecture, []):
        del tensors[name]
    if architecture == "skip_transcoder":
        tensors["W_skip"] = _random(N_INPUTS, N_INPUTS)
    config = {
        "architecture": architecture,
        "d_in": N_INPUTS,
        "d_sae": N_LATENTS,
        "dtype": "float32",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        **settings,
        "metadata": {"model_name": "gpt2-small", "sae_lens_version": "6.0", **(hooks or _HOOKS)},
    }
    return {_WEIGHTS: save(tensors), _CONFIG: json.dumps(config).encode()}


def _saelens_scenes(folder: Path) -> list[Scene]:
    old = {
        "architecture": "standard",
        "d_in": N_INPUTS,
        "d_sae": N_LATENTS,
        "hook_point": "blocks.3.mlp.hook_post",
        "model_name": "gpt2-small",
        "activation_fn_str": "relu",
        "normalize_activations": False,
    }
    folders = [
        _saelens_folder("standard", normalize_activations="layer_norm"),
        _saelens_folder("topk", k=2, rescale_acts_by_decoder_norm=True),
        _saelens_folder("gated"),
        _saelens_folder("jumprelu", normalize_activations="constant_norm_rescale"),
        _saelens_folder("matching_pursuit", max_iterations=3, residual_threshold=0.0),
        {**_saelens_folder("standard"), _CONFIG: json.dumps(old).encode()},
        _saelens_folder("skip_transcoder", _TRANSCODER_HOOKS, d_out=N_INPUTS, apply_b_dec_to_input=False),
    ]
    scaled = _saelens_folder("standard", normalize_activations="expected_average_only_in")
    scaled[_SCALER] = b'{"scaling_factor": 2.5, "has_whitening": false}'
    whitened = _saelens_folder("standard", normalize_activations="covariance_whitening")
    unit = torch.eye(N_INPUTS)
    whitened[_WHITENING] = save({"mean": _random(N_INPUTS), "matrix": unit * 2, "inverse_matrix": unit / 2})
    changes = ((_CONFIG, mutated_json), (_WEIGHTS, mutated_safetensors))
    return [
        *(Scene(files, name, mutate) for files in folders for name, mutate in changes),
        Scene(scaled, _SCALER, mutated_json),
        Scene(whitened, _WHITENING, mutated_safetensors),
    ]


def _read_saelens(folder: Path) -> None:
    _check_autoencoder(folder)
    context = ne.load_autoencoders(folder, layers=3, device="cpu")
    assert context.get_autoencoder(3) is not None


TARGETS = [
    Target("autoencoder_pytorch", _pytorch_scenes, _read_pytorch, may_warn="torch"),
    Target("saelens_folder", _saelens_scenes, _read_saelens),
]
