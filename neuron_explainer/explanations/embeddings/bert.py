"""BERT's encoder (Devlin et al., 2019) in plain torch: token ids to vectors, with the tensors of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding, gelu, layer_norm, linear, scaled_dot_product_attention

from neuron_explainer.errors import MissingTensorError, NonFiniteTensorError, TensorShapeError

_EMBEDDINGS = "embeddings."


@dataclass(frozen=True)
class BertSizes:
    """The sizes of an encoder.

    Attributes:
        vocab_size, n_positions, n_types: how many tokens, positions and kinds of segments have an embedding.
        width, mlp_width: of the residual stream, and of what is between the two matrices of an MLP.
        n_layers, n_heads: how many layers, and how many heads each has.
        epsilon: what each norm adds to the variance.
    """

    vocab_size: int
    n_positions: int
    n_types: int
    width: int
    mlp_width: int
    n_layers: int
    n_heads: int
    epsilon: float

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor, by its name in a checkpoint."""
        found: dict[str, tuple[int, ...]] = {
            _EMBEDDINGS + "word_embeddings.weight": (self.vocab_size, self.width),
            _EMBEDDINGS + "position_embeddings.weight": (self.n_positions, self.width),
            _EMBEDDINGS + "token_type_embeddings.weight": (self.n_types, self.width),
            **_weight_and_bias(_EMBEDDINGS + "LayerNorm", self.width),
        }
        for layer in range(self.n_layers):
            prefix = f"encoder.layer.{layer}."
            for part in ("query", "key", "value"):
                found |= _weight_and_bias(f"{prefix}attention.self.{part}", self.width, self.width)
            found |= _weight_and_bias(prefix + "attention.output.dense", self.width, self.width)
            found |= _weight_and_bias(prefix + "attention.output.LayerNorm", self.width)
            found |= _weight_and_bias(prefix + "intermediate.dense", self.mlp_width, self.width)
            found |= _weight_and_bias(prefix + "output.dense", self.width, self.mlp_width)
            found |= _weight_and_bias(prefix + "output.LayerNorm", self.width)
        return found


class BertEncoder:
    """BERT's layers; each is attention and an MLP with the exact GELU, each with a norm after its sum.

    Args:
        sizes: its sizes.
        tensors: by their names in a checkpoint; others than those needed are left alone.

    Raises:
        MissingTensorError: a tensor is missing.
        TensorShapeError: one has another shape than the sizes say.
        NonFiniteTensorError: one holds NaN or infinity.
    """

    def __init__(self, sizes: BertSizes, tensors: Mapping[str, Tensor]) -> None:
        self.sizes = sizes
        self._tensors: dict[str, Tensor] = {}
        for name, shape in sizes.shapes().items():
            if name not in tensors:
                raise MissingTensorError(f"The encoder has no tensor {name!r}.", tensor=name)
            tensor = tensors[name]
            if tuple(tensor.shape) != shape:
                raise TensorShapeError(
                    f"Tensor {name!r} has shape {tuple(tensor.shape)}; the encoder's sizes need {shape}.", tensor=name
                )
            if not bool(tensor.isfinite().all()):
                raise NonFiniteTensorError(f"Tensor {name!r} holds NaN or infinity.", tensor=name)
            self._tensors[name] = tensor.float()

    def to(self, device: torch.device) -> BertEncoder:
        """The same on a device."""
        self._tensors = {name: tensor.to(device) for name, tensor in self._tensors.items()}
        return self

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return next(iter(self._tensors.values())).device

    def __call__(self, token_ids: Tensor, is_real: Tensor) -> Tensor:
        """The last layer's vectors.

        Args:
            token_ids: (texts, tokens), padded with any id.
            is_real: which of them are tokens of the text, (texts, tokens); nothing attends to the others.

        Returns:
            (texts, tokens, width).
        """
        positions = torch.arange(token_ids.shape[1], device=token_ids.device)
        x = (
            self._embedded("word_embeddings", token_ids)
            + self._embedded("position_embeddings", positions)
            + self._embedded("token_type_embeddings", torch.zeros_like(positions))
        )
        x = self._norm(_EMBEDDINGS + "LayerNorm", x)
        for layer in range(self.sizes.n_layers):
            prefix = f"encoder.layer.{layer}."
            attended = self._linear(prefix + "attention.output.dense", self._attended(prefix, x, is_real))
            x = self._norm(prefix + "attention.output.LayerNorm", x + attended)
            hidden = gelu(self._linear(prefix + "intermediate.dense", x))
            x = self._norm(prefix + "output.LayerNorm", x + self._linear(prefix + "output.dense", hidden))
        return x

    def _attended(self, prefix: str, x: Tensor, is_real: Tensor) -> Tensor:
        query, key, value = (
            self._linear(f"{prefix}attention.self.{part}", x).unflatten(-1, (self.sizes.n_heads, -1)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        heads = scaled_dot_product_attention(query, key, value, attn_mask=is_real[:, None, None, :])
        return heads.transpose(1, 2).flatten(2)

    def _embedded(self, name: str, ids: Tensor) -> Tensor:
        return embedding(ids, self._tensors[f"{_EMBEDDINGS}{name}.weight"])

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return linear(x, self._tensors[name + ".weight"], self._tensors[name + ".bias"])

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self._tensors[name + ".weight"], self._tensors[name + ".bias"]
        return layer_norm(x, (self.sizes.width,), weight, bias, self.sizes.epsilon)


def _weight_and_bias(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
    return {name + ".weight": shape, name + ".bias": shape[:1]}
