"""The pieces of Transformer Debugger's checkpoints, as the tensors of Hugging Face's GPT-2."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import (
    MalformedCheckpointError,
    MissingFileError,
    MissingTensorError,
    TensorShapeError,
    UnexpectedTensorError,
)
from neuron_explainer.models.tensor_files.pytorch_files import read_pytorch_file
from neuron_explainer.models.tensor_files.raw_tensors import check_finite
from neuron_explainer.storage.locations import is_url, joined, without_secrets

FOLDER_OF_PIECES = "model_pieces"

_PIECE_OUTSIDE_LAYERS = {
    "transformer.wte.weight": "tok_embed.weight",
    "transformer.wpe.weight": "pos_embed.weight",
    "transformer.ln_f.weight": "final_ln.weight",
    "transformer.ln_f.bias": "final_ln.bias",
    "lm_head.weight": "unembed.weight",
}
_PIECES_WITHIN_LAYER = {
    "ln_1": ("ln_1",),
    "attn.c_attn": ("attn.q_proj", "attn.k_proj", "attn.v_proj"),
    "attn.c_proj": ("attn.out_proj",),
    "ln_2": ("ln_2",),
    "mlp.c_fc": ("mlp.in_layer",),
    "mlp.c_proj": ("mlp.out_layer",),
}
_IN_LAYER = re.compile(r"transformer\.h\.(\d+)\.(.+)\.(weight|bias)")


class TdbReader:
    """The pieces' tensors under Hugging Face's names; a `TensorReader`.

    An address cannot be listed, and a piece must be read to know its shape. So names and shapes are taken from the
    config, and each piece is checked against them when it is read.
    """

    def __init__(self, root: str, hf_config: Mapping[str, Any]) -> None:
        self._root = root
        self._shapes = _shapes(hf_config)
        pieces = {piece for name in self._shapes for piece in pieces_of(name)}
        if not is_url(root):
            present = {file.stem for file in (Path(root) / FOLDER_OF_PIECES).glob("*.pt")}
            for name in self._shapes:  # in the model's order, so that a layer too many is the one that is named
                for piece in pieces_of(name):
                    if piece not in present:
                        raise _missing_piece(root, piece)
            extra = sorted(present - pieces)
            if extra:
                raise UnexpectedTensorError(
                    f"{root} has pieces that do not belong to a model of its config: {', '.join(extra[:5])}.",
                    file=_location(root, extra[0]),
                    tensor=extra[0],
                )

    def names(self) -> Collection[str]:
        """All tensors that the config asks for."""
        return self._shapes.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape that the config asks for."""
        return self._shapes[name]

    def where(self, name: str | None = None) -> str:
        """The file of a tensor's (first) piece; without a name, the folder or address."""
        return (
            without_secrets(self._root) if name is None else without_secrets(_location(self._root, pieces_of(name)[0]))
        )

    def stored_name(self, name: str) -> str:
        """The name of the tensor's piece; several are joined with " + "."""
        return " + ".join(pieces_of(name))

    def read(self, name: str, *, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "..."]:
        """A tensor in Hugging Face's form, joined from its pieces.

        Raises:
            CheckpointError: a piece is missing, unreadable, not finite, or does not have the config's shape.
        """
        shape = self._shapes[name]
        pieces = pieces_of(name)
        is_matrix = len(shape) == 2 and name.startswith("transformer.h.")
        expected = tuple(reversed(shape)) if is_matrix else shape
        expected = (expected[0] // len(pieces), *expected[1:])
        tensors = []
        for piece in pieces:
            tensor, file = _read_piece(self._root, piece), without_secrets(_location(self._root, piece))
            if tuple(tensor.shape) != expected:
                raise TensorShapeError(
                    f"{file} has shape {tuple(tensor.shape)}; by the config it must be {expected}.",
                    file=file,
                    tensor=piece,
                )
            tensor = tensor.to(dtype=dtype)
            check_finite(tensor, file=file, name=piece)
            tensors.append(tensor.to(device))
        whole = tensors[0] if len(tensors) == 1 else torch.cat(tensors)
        return whole.T if is_matrix else whole


def _missing_piece(root: str, piece: str) -> MissingTensorError:
    file = without_secrets(_location(root, piece))
    return MissingTensorError(f"{file} does not exist; the model needs it.", file=file, tensor=piece)


def _location(root: str, piece: str) -> str:
    return joined(root, FOLDER_OF_PIECES, f"{piece}.pt")


def _read_piece(root: str, piece: str) -> Float[Tensor, "..."]:
    location = _location(root, piece)
    file = without_secrets(location)
    try:
        tensor = read_pytorch_file(location)
    except MissingFileError as error:
        raise _missing_piece(root, piece) from error
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        found = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
        raise MalformedCheckpointError(
            f"{file} holds {found}; it must hold a floating-point tensor.", file=file, tensor=piece
        )
    return tensor.detach()


def read_embedding(root: str) -> Float[Tensor, "vocab d_model"]:
    """The embedding. Its shape is the only place where the size of the vocabulary is stored.

    Raises:
        CheckpointError: it is missing, cannot be read, or is not a matrix.
    """
    piece = _PIECE_OUTSIDE_LAYERS["transformer.wte.weight"]
    embedding = _read_piece(root, piece)
    if embedding.ndim != 2:
        file = without_secrets(_location(root, piece))
        raise TensorShapeError(
            f"{file} has shape {tuple(embedding.shape)}; an embedding must be a matrix.", file=file, tensor=piece
        )
    return embedding


def pieces_of(name: str) -> tuple[str, ...]:
    """The pieces of a tensor of Hugging Face's GPT-2, in order."""
    if match := _IN_LAYER.fullmatch(name):
        layer, part, kind = match.groups()
        return tuple(f"xf_layers.{layer}.{piece}.{kind}" for piece in _PIECES_WITHIN_LAYER[part])
    return (_PIECE_OUTSIDE_LAYERS[name],)


def _shapes(hf_config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    model, neurons, vocab_size = hf_config["n_embd"], hf_config["n_inner"], hf_config["vocab_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "transformer.wte.weight": (vocab_size, model),
        "transformer.wpe.weight": (hf_config["n_positions"], model),
        "transformer.ln_f.weight": (model,),
        "transformer.ln_f.bias": (model,),
        "lm_head.weight": (vocab_size, model),
    }
    matrices = {
        "attn.c_attn": (model, 3 * model),
        "attn.c_proj": (model, model),
        "mlp.c_fc": (model, neurons),
        "mlp.c_proj": (neurons, model),
    }
    for layer in range(hf_config["n_layer"]):
        prefix = f"transformer.h.{layer}."
        for norm in ("ln_1", "ln_2"):
            shapes |= {f"{prefix}{norm}.weight": (model,), f"{prefix}{norm}.bias": (model,)}
        for part, (n_inputs, n_outputs) in matrices.items():
            shapes |= {f"{prefix}{part}.weight": (n_inputs, n_outputs), f"{prefix}{part}.bias": (n_outputs,)}
    return shapes
