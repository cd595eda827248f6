"""Forward passes of GPT-2, GPT-NeoX and Llama written out from their Hugging Face weights, sharing no code with ours.

`forward(family, tokens, edit=…)` gives every activation by place and layer, without a batch axis. `edit(place, layer,
tensor)` may replace each on its way, so that any quantity of the pass can be differentiated by plain autograd.
"""

from collections.abc import Callable, Collection

import torch
from torch import Tensor
from torch.nn.functional import gelu, linear, silu

from helpers.tiny_models import hf_model
from neuron_explainer.vocabulary.places import ActivationLocationType as Place

Key = tuple[Place, int | None]
Weights = dict[str, Tensor]
Edit = Callable[[Place, int | None, Tensor], Tensor]

PREFIX = {"gpt2": "transformer.h.{}.", "gpt_neox": "gpt_neox.layers.{}.", "llama": "model.layers.{}."}
FAMILIES = list(PREFIX)
"""The families written out here; identities that need no second forward pass are tested in every family."""

NORMS = {
    "gpt2": ("ln_1", "ln_2", "transformer.ln_f"),
    "gpt_neox": ("input_layernorm", "post_attention_layernorm", "gpt_neox.final_layer_norm"),
    "llama": ("input_layernorm", "post_attention_layernorm", "model.norm"),
}
N_LAYERS, N_HEADS, D_HEAD, D_MODEL = 3, 4, 8, 32


def forward(
    family: str, tokens: list[int], edit: Edit | None = None, detached_scales: Collection[Key] = ()
) -> dict[Key, Tensor]:
    """Every activation. `detached_scales` names LayerNorm scales that no gradient flows through."""
    weights = hf_model(family, torch.float64).state_dict()
    found: dict[Key, Tensor] = {}

    def at(place: Place, layer: int | None, tensor: Tensor) -> Tensor:
        found[place, layer] = tensor if edit is None else edit(place, layer, tensor)
        return found[place, layer]

    def norm(name: str, x: Tensor, scale_key: Key) -> Tensor:
        epsilon = 1e-6 if family == "llama" else 1e-5
        centred = x if family == "llama" else x - x.mean(-1, keepdim=True)
        scale = at(*scale_key, (centred.square().mean(-1, keepdim=True) + epsilon).sqrt())
        if scale_key in detached_scales:
            scale = scale.detach()
        normed = centred / scale * weights[f"{name}.weight"]
        return normed if family == "llama" else normed + weights[f"{name}.bias"]

    ids = torch.tensor(tokens)
    n_tokens = len(tokens)
    causal = torch.full((n_tokens, n_tokens), -torch.inf, dtype=torch.float64).triu(1)[:, :, None]
    embedding = {"gpt2": "transformer.wte", "gpt_neox": "gpt_neox.embed_in", "llama": "model.embed_tokens"}[family]
    resid = weights[f"{embedding}.weight"][ids]
    if family == "gpt2":
        resid = resid + weights["transformer.wpe.weight"][:n_tokens]
    resid = at(Place.RESID_POST_EMBEDDING, None, resid)
    attention_norm, mlp_norm, final_norm = NORMS[family]
    for layer in range(N_LAYERS):
        prefix = PREFIX[family].format(layer)
        before = resid
        normed = norm(prefix + attention_norm, resid, (Place.ATTN_INPUT_LAYER_NORM_SCALE, layer))
        q, k, v = _queries_keys_values(family, weights, prefix, normed)
        q = at(Place.ATTN_QUERY, layer, q * D_HEAD**-0.25)
        k = at(Place.ATTN_KEY, layer, k * D_HEAD**-0.25)
        v = at(Place.ATTN_VALUE, layer, v)
        logits = at(Place.ATTN_QK_LOGITS, layer, torch.einsum("fhc,thc->fth", q, k) + causal)
        probs = at(Place.ATTN_QK_PROBS, layer, logits.softmax(dim=1))
        summed = at(Place.ATTN_WEIGHTED_SUM_OF_VALUES, layer, torch.einsum("fth,thc->fhc", probs, v))
        delta = at(Place.RESID_DELTA_ATTN, layer, _attention_output(family, weights, prefix, summed.flatten(1)))
        resid = at(Place.RESID_POST_ATTN, layer, resid + delta)
        read = before if family == "gpt_neox" else resid
        normed = norm(prefix + mlp_norm, read, (Place.MLP_INPUT_LAYER_NORM_SCALE, layer))
        delta = _mlp(family, weights, prefix, normed, layer, at)
        resid = at(Place.RESID_POST_MLP, layer, resid + at(Place.RESID_DELTA_MLP, layer, delta))
    normed = norm(final_norm, resid, (Place.RESID_FINAL_LAYER_NORM_SCALE, None))
    unembedding = "lm_head.weight" if "lm_head.weight" in weights else "embed_out.weight"  # GPT-NeoX's older name
    at(Place.LOGITS, None, normed @ weights[unembedding].T)
    return found


def _queries_keys_values(family: str, weights: Weights, prefix: str, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if family == "gpt2":
        fused = normed @ weights[prefix + "attn.c_attn.weight"] + weights[prefix + "attn.c_attn.bias"]
        q, k, v = (part.unflatten(-1, (N_HEADS, D_HEAD)) for part in fused.split(D_MODEL, dim=-1))
        return q, k, v
    if family == "gpt_neox":
        name = prefix + "attention.query_key_value"
        fused = linear(normed, weights[f"{name}.weight"], weights[f"{name}.bias"]).unflatten(-1, (N_HEADS, 3, D_HEAD))
        q, k, v = fused.unbind(-2)
        n_rotary = D_HEAD // 4
    else:
        q, k, v = (
            linear(normed, weights[f"{prefix}self_attn.{name}_proj.weight"]).unflatten(-1, (-1, D_HEAD))
            for name in "qkv"
        )
        k, v = (part.repeat_interleave(N_HEADS // part.shape[1], dim=1) for part in (k, v))
        n_rotary = D_HEAD
    return _rotated(q, n_rotary), _rotated(k, n_rotary), v


def _rotated(heads: Tensor, n_rotary: int) -> Tensor:
    half = n_rotary // 2
    angles = torch.arange(len(heads))[:, None] * 10000.0 ** (-torch.arange(half) * 2 / n_rotary)
    cosines, sines = (function(angles.float()).to(heads.dtype)[:, None] for function in (torch.cos, torch.sin))
    first, second, rest = heads[..., :half], heads[..., half:n_rotary], heads[..., n_rotary:]
    return torch.cat((first * cosines - second * sines, second * cosines + first * sines, rest), dim=-1)


def _attention_output(family: str, weights: Weights, prefix: str, summed: Tensor) -> Tensor:
    if family == "gpt2":
        return summed @ weights[prefix + "attn.c_proj.weight"] + weights[prefix + "attn.c_proj.bias"]
    if family == "gpt_neox":
        return linear(summed, weights[prefix + "attention.dense.weight"], weights[prefix + "attention.dense.bias"])
    return linear(summed, weights[prefix + "self_attn.o_proj.weight"])


def _mlp(family: str, weights: Weights, prefix: str, normed: Tensor, layer: int, at: Edit) -> Tensor:
    if family == "llama":
        gate = at(Place.MLP_PRE_ACT, layer, linear(normed, weights[prefix + "mlp.gate_proj.weight"]))
        post_act = at(Place.MLP_POST_ACT, layer, silu(gate) * linear(normed, weights[prefix + "mlp.up_proj.weight"]))
        return linear(post_act, weights[prefix + "mlp.down_proj.weight"])
    if family == "gpt2":
        pre_act = normed @ weights[prefix + "mlp.c_fc.weight"] + weights[prefix + "mlp.c_fc.bias"]
        post_act = at(Place.MLP_POST_ACT, layer, gelu(at(Place.MLP_PRE_ACT, layer, pre_act), approximate="tanh"))
        return post_act @ weights[prefix + "mlp.c_proj.weight"] + weights[prefix + "mlp.c_proj.bias"]
    names = ("mlp.dense_h_to_4h", "mlp.dense_4h_to_h")
    pre_act = linear(normed, *(weights[f"{prefix}{names[0]}.{kind}"] for kind in ("weight", "bias")))
    post_act = at(Place.MLP_POST_ACT, layer, gelu(at(Place.MLP_PRE_ACT, layer, pre_act)))
    return linear(post_act, *(weights[f"{prefix}{names[1]}.{kind}"] for kind in ("weight", "bias")))


def reads_from(family: str, layer: int, *, is_mlp: bool) -> Key:
    """The residual stream that a layer's attention or MLP reads."""
    if is_mlp and family != "gpt_neox":
        return Place.RESID_POST_ATTN, layer
    return (Place.RESID_POST_MLP, layer - 1) if layer else (Place.RESID_POST_EMBEDDING, None)
