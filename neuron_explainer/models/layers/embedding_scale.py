"""The factor of token embeddings."""

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.models.transformer_config import TransformerConfig


def scaled_embedding(rows: Float[Tensor, "*axes d_model"], config: TransformerConfig) -> Float[Tensor, "*axes d_model"]:
    """Rows of the token embedding, times the config's factor; the rows themselves if it is 1."""
    scale = config.embedding_scale
    if scale == 1.0:
        return rows
    if not config.rounds_embedding_scale:
        return rows * scale
    # rounded to float32 first, like the scale of the released models
    return rows * torch.tensor(scale, dtype=torch.float32, device="cpu").to(rows.dtype)
