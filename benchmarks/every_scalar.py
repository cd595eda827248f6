"""Requests that together derive every derived scalar from any model of at least three layers, in five passes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from neuron_explainer import (
    ActivationIndex,
    ActivationLocationType,
    AttnSubNode,
    AttnSubNodeIndex,
    AutoencoderContext,
    DerivedScalarType,
    DstConfig,
    NodeIndex,
    NodeType,
    PreOrPostAct,
    StandardModelContext,
    TraceConfig,
)

D = DerivedScalarType

OF_THE_MLPS_TRACED_LATENT = frozenset(
    {
        D.RESID_POST_EMBEDDING_PROJ_TO_FINAL_ACTIVATION_RESIDUAL_GRAD,
        D.MLP_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD,
        D.UNFLATTENED_ATTN_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD,
        D.ONLINE_AUTOENCODER_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD,
        D.ONLINE_MLP_AUTOENCODER_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD,
        D.AUTOENCODER_LATENT_GRAD_WRT_MLP_POST_ACT_INPUT,
    }
)
OF_ATTENTIONS_TRACED_LATENT = frozenset(
    {
        D.AUTOENCODER_LATENT_GRAD_WRT_RESIDUAL_INPUT,
        D.ATTN_WRITE_TO_LATENT,
        D.ATTN_WRITE_TO_LATENT_SUMMED_OVER_HEADS,
        D.FLATTENED_ATTN_WRITE_TO_LATENT_SUMMED_OVER_HEADS,
        D.ATTN_WRITE_TO_LATENT_PER_SEQUENCE_TOKEN,
        D.ONLINE_ATTENTION_AUTOENCODER_WRITE_TO_FINAL_ACTIVATION_RESIDUAL_GRAD,
    }
)
OF_ATTENTIONS_LATENTS = frozenset(
    {
        D.ATTENTION_AUTOENCODER_LATENT,
        D.ATTENTION_AUTOENCODER_WRITE_NORM,
        D.ONLINE_ATTENTION_AUTOENCODER_LATENT,
        D.ONLINE_ATTENTION_AUTOENCODER_WRITE,
        D.ONLINE_ATTENTION_AUTOENCODER_WRITE_NORM,
        D.ONLINE_ATTENTION_AUTOENCODER_ACT_TIMES_GRAD,
        D.ONLINE_ATTENTION_AUTOENCODER_WRITE_TO_FINAL_RESIDUAL_GRAD,
        D.ONLINE_RESIDUAL_ATTENTION_AUTOENCODER_ERROR,
        D.FLATTENED_ATTN_WRITE_TO_LATENT_SUMMED_OVER_HEADS_BATCHED,
        D.ATTN_WRITE_TO_LATENT_PER_SEQUENCE_TOKEN_BATCHED,
    }
)
OF_THE_MLPS_WRITE = frozenset({D.ONLINE_RESIDUAL_MLP_AUTOENCODER_ERROR})
OF_THE_MLPS_LATENTS = (
    frozenset(D) - OF_THE_MLPS_TRACED_LATENT - OF_ATTENTIONS_TRACED_LATENT - OF_ATTENTIONS_LATENTS - OF_THE_MLPS_WRITE
)
"""Every other type: most need no autoencoder, and none needs another one."""

NODE = AttnSubNodeIndex(NodeType.ATTENTION_HEAD, 1, (4, 2, 1), q_k_or_v=AttnSubNode.V)
TRACE = TraceConfig(NodeIndex(NodeType.AUTOENCODER_LATENT, 2, (4, 6)), PreOrPostAct.PRE)
FAKE_GRADIENT = ActivationIndex(ActivationLocationType.MLP_POST_ACT, 1, (4, 6))


@dataclass(frozen=True)
class Request:
    """Some types, with the config that they are derived with; all take a loss of the last token's logits too.

    Attributes:
        dsts: the types.
        place: what the autoencoders are trained on.
        settings: the config's fields beside model and autoencoders.
    """

    dsts: frozenset[DerivedScalarType]
    place: DerivedScalarType
    settings: dict[str, Any]

    def config(
        self,
        context: StandardModelContext,
        autoencoders_of: Callable[[StandardModelContext, DerivedScalarType], AutoencoderContext],
        **changes: Any,
    ) -> DstConfig:
        """The config for a model; `autoencoders_of` gives the autoencoders of a place."""
        fields = {**self.settings, **changes}
        return DstConfig(model_context=context, autoencoder_context=autoencoders_of(context, self.place), **fields)


_NODE = {"node_index_for_attribution": NODE, "activation_index_for_fake_grad": FAKE_GRADIENT}

REQUESTS = (
    Request(OF_THE_MLPS_LATENTS, D.MLP_POST_ACT, {**_NODE, "derive_gradients": True}),
    Request(OF_THE_MLPS_TRACED_LATENT, D.MLP_POST_ACT, {"trace_config": TRACE}),
    Request(OF_THE_MLPS_WRITE, D.RESID_DELTA_MLP, {}),
    Request(OF_ATTENTIONS_LATENTS, D.RESID_DELTA_ATTN, {"layer_indices": [2]}),
    Request(OF_ATTENTIONS_TRACED_LATENT, D.RESID_DELTA_ATTN, {"trace_config": TRACE}),
)


def request_for(dst: DerivedScalarType) -> Request:
    """The request that derives a type."""
    return next(request for request in REQUESTS if dst in request.dsts)
