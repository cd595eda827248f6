"""The input tokens that raise and lower a neuron or latent: the embedding's rows through the layer's norm."""

from __future__ import annotations

from typing import TYPE_CHECKING, SupportsIndex

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.activations.derived_scalars.engine import recompute
from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.attribution.single_nodes.directions import back_through_norm, checked_latent
from neuron_explainer.components.finite_weights import check_finite_result
from neuron_explainer.components.held import held
from neuron_explainer.components.vocabulary.embedding_rows import along_rows, embedding_blocks
from neuron_explainer.components.vocabulary.token_rows import token_table
from neuron_explainer.models.layers.block import Block
from neuron_explainer.models.layers.experts import MixtureOfExperts
from neuron_explainer.models.layers.mlp import MLP
from neuron_explainer.models.layers.norms import at_least_float32
from neuron_explainer.models.transformer import Transformer
from neuron_explainer.vocabulary.checks import checked_number

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.components.component import Component

Values = Float[Tensor, " vocab"]
ManyValues = Float[Tensor, "components vocab"]


def tokens_read(component: Component, n: SupportsIndex) -> pandas.DataFrame:
    """See `Component.reads`."""
    count = checked_number("n", n)
    with torch.no_grad():
        if component.kind is NodeKind.NEURON:
            values, others = neuron_on_vocabulary(
                component.transformer("reads()"), component.block("reads()"), component.index
            )
        else:
            checked_latent(component.autoencoder("reads()"), component.layer, component.index)
            values, others = latent_on_vocabulary(component), {}
    for each in (values, *others.values()):
        check_finite_result(each, f"What {component.name} reads of the input tokens")
    return token_table(
        component.model("reads()"), values.cpu(), count, {name: each.cpu() for name, each in others.items()}
    )


def neuron_on_vocabulary(model: Transformer, block: Block, neuron: int) -> tuple[Values, dict[str, Values]]:
    """A neuron's pre-activation for each token, as `neurons_on_vocabulary` gives those of several."""
    values, others = neurons_on_vocabulary(model, block, range(neuron, neuron + 1))
    return values[0], {name: each[0] for name, each in others.items()}


def neurons_on_vocabulary(model: Transformer, block: Block, neurons: range) -> tuple[ManyValues, dict[str, ManyValues]]:
    """Neurons' pre-activations for each token; of gated ones also `up`, of experts' also the router's weight.

    `up` is what the activated gate is multiplied by. The pre-activation of an expert's neuron is what it would be if
    the token were sent to its expert; the router's weight is 0 where it is not.

    Args:
        model: the model.
        block: the layer.
        neurons: consecutive neurons of it; those of one expert.
    """
    expert, within = block.mlp, neurons
    others: dict[str, ManyValues] = {}
    if isinstance(block.mlp, MixtureOfExperts):
        number, start = divmod(neurons.start, block.mlp.d_expert)
        within = range(start, start + len(neurons))
        expert = block.mlp.expert(number)
        others["router_weight"] = _router_weights(model, block)[:, number].expand(len(neurons), -1)
    assert isinstance(expert, MLP)
    own = slice(within.start, within.stop)
    maps = [(expert.input_weight[own], _entries(expert.input_bias, own))]
    if expert.up_weight is not None:
        maps.append((expert.up_weight[own], _entries(expert.up_bias, own)))
    norm = block.mlp_norm
    weights = torch.cat([weight for weight, _ in maps])
    products = along_rows(model, norm, back_through_norm(weights, norm).T).T.split(len(neurons))
    made = []
    for product, (weight, bias) in zip(products, maps, strict=True):
        if norm.bias is not None:
            product += (at_least_float32(weight) @ at_least_float32(norm.bias))[:, None]
        if bias is not None:
            product += bias[:, None]
        made.append(product)
    if expert.up_weight is not None:
        up = made[1] if expert.gate_limit is None else made[1].clamp(-expert.gate_limit, expert.gate_limit)
        others = {"up": up + expert.up_offset, **others}
    return made[0], others


def _entries(bias: Tensor | None, which: slice) -> Tensor | None:
    return None if bias is None else bias[which]


def _router_weights(model: Transformer, block: Block) -> Float[Tensor, "vocab experts"]:
    """The router's weight of each expert, for each token; 0 for experts that the token is not sent to."""
    experts = block.mlp
    assert isinstance(experts, MixtureOfExperts)

    def make() -> Tensor:
        made = []
        for rows in embedding_blocks(model):
            chosen, weights = experts.route(block.mlp_norm(rows.to(model.dtype)))
            dense = weights.new_zeros(len(rows), experts.n_experts, dtype=at_least_float32(weights).dtype)
            made.append(dense.scatter(1, chosen, weights.to(dense.dtype)))
        return torch.cat(made)

    return held(model, ("router weights", block.layer), make)


def latent_on_vocabulary(component: Component) -> Values:
    """A latent's pre-activation for each token, as `latents_on_vocabulary` gives those of several."""
    return latents_on_vocabulary(component, range(component.index, component.index + 1))[0]


def latents_on_vocabulary(component: Component, latents: range) -> ManyValues:
    """The pre-activations of latents for each token.

    What an autoencoder reads is computed for the whole vocabulary once, and kept for the layer's other latents.

    Args:
        component: one latent of the layer.
        latents: consecutive latents of it.
    """
    bound, node_type, layer = component.bound("reads()"), component.dst.node_type, component.layer
    autoencoder = bound.autoencoder(node_type, layer)
    which = slice(latents.start, latents.stop)
    parts = [
        autoencoder.pre_activations(inputs.to(autoencoder.device), which)
        for inputs in _autoencoder_inputs(bound, component)
    ]
    return torch.cat(parts).T


def _autoencoder_inputs(bound: BoundConfig, component: Component) -> list[Float[Tensor, "some_vocab inputs"]]:
    """What a layer's autoencoder would read of each token, in blocks."""
    node_type, layer, model = component.dst.node_type, component.layer, bound.model
    context = bound.autoencoder_context(node_type)

    def make() -> list[Tensor]:
        made = []
        for rows in embedding_blocks(model):
            resid = rows.to(model.dtype)[:, None]  # a prompt of one token for each row
            made.append(recompute.autoencoder_input(bound, node_type, layer, resid, False).flatten(1))
        return made

    return held(model, ("autoencoder inputs", context.dst, _reads(bound, component), layer), make)


def _reads(bound: BoundConfig, component: Component) -> str:
    """What an autoencoder's inputs depend on beside their place: where a transcoder reads."""
    autoencoder = bound.autoencoder(component.dst.node_type, component.layer)
    return f"{getattr(autoencoder, 'reads', None)} {getattr(autoencoder, 'has_folded_norms', None)}"
