"""The same identities with the real weights of SmolLM2-135M, for one type of each kind, in float32."""

import pytest
import torch
from torch import Tensor

from neuron_explainer.activations.derived_scalars.config import DstConfig
from neuron_explainer.activations.derived_scalars.derivation import derive
from neuron_explainer.activations.derived_scalars.indexing import NodeIndex, PreOrPostAct, TraceConfig
from neuron_explainer.activations.derived_scalars.store.derived_scalar_store import DerivedScalarStore
from neuron_explainer.models.autoencoder_context import AutoencoderContext
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.autoencoders.latent_activations import TopK
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import NodeType


def why_mary(smollm2: StandardModelContext, *dsts: D, **config: object) -> DerivedScalarStore:
    target, distractor = (smollm2.encode_token_str(text) for text in (" Mary", " John"))
    prompt = "When Mary and John went to the store, John gave a drink to"
    return derive(
        prompt,
        dsts,
        DstConfig(model_context=smollm2, **config),  # type: ignore[arg-type]
        loss=lambda logits: logits[-1, target] - logits[-1, distractor],
    )


def nearly(actual: Tensor, expected: Tensor) -> None:
    """In float32, and relative to the largest number: sums of thousands of numbers that nearly cancel."""
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()) + 1e-6)


def test_smollm2_s_direct_effects_add_up(smollm2: StandardModelContext) -> None:
    last = smollm2.n_layers - 1
    sums = (
        D.RESID_POST_EMBEDDING_PROJ_TO_FINAL_RESIDUAL_GRAD,
        D.UNFLATTENED_ATTN_WRITE_TO_FINAL_RESIDUAL_GRAD,
        D.MLP_WRITE_TO_FINAL_RESIDUAL_GRAD,
    )
    store = why_mary(smollm2, *sums, D.RESID_POST_MLP_PROJ_TO_FINAL_RESIDUAL_GRAD)
    assert store.loss is not None
    assert store.loss > 0  # it says Mary
    total = store.activations(sums[0])[None].squeeze(-1)
    for layer in range(last):
        total = total + store.activations(sums[1])[layer].sum(dim=(1, 2)) + store.activations(sums[2])[layer].sum(dim=1)
    nearly(total, store.activations(D.RESID_POST_MLP_PROJ_TO_FINAL_RESIDUAL_GRAD)[last - 1].squeeze(-1))


def test_smollm2_s_writes_are_what_its_layers_add(smollm2: StandardModelContext) -> None:
    store = why_mary(smollm2, D.ATTN_WRITE, D.RESID_DELTA_ATTN, D.MLP_WRITE, D.RESID_DELTA_MLP, layer_indices=[3, 17])
    for layer in (3, 17):
        nearly(store.activations(D.ATTN_WRITE)[layer].sum(dim=(1, 2)), store.activations(D.RESID_DELTA_ATTN)[layer])
        nearly(store.activations(D.MLP_WRITE)[layer].sum(dim=1), store.activations(D.RESID_DELTA_MLP)[layer])


def test_smollm2_s_edges_and_traces(smollm2: StandardModelContext) -> None:
    up = NodeIndex(NodeType.MLP_NEURON, 10, (5, 100))
    down = NodeIndex(NodeType.MLP_NEURON, 20, (5, 200))
    incoming = why_mary(smollm2, D.MLP_IN_EDGE_ATTRIBUTION, node_index_for_attribution=up)
    outgoing = why_mary(smollm2, D.MLP_OUT_EDGE_ATTRIBUTION, node_index_for_attribution=down)
    from_above = incoming.activations(D.MLP_IN_EDGE_ATTRIBUTION)[20][down.slices]
    from_below = outgoing.activations(D.MLP_OUT_EDGE_ATTRIBUTION)[10][up.slices]
    torch.testing.assert_close(from_above, from_below, rtol=1e-3, atol=1e-9)
    trace = TraceConfig(down, PreOrPostAct.PRE)
    store = why_mary(smollm2, D.MLP_PRE_ACT, D.TOKEN_ATTRIBUTION, trace_config=trace)
    assert store.traced_activation == pytest.approx(float(store.activations(D.MLP_PRE_ACT)[20][5, 200]), rel=1e-4)
    tokens = store.activations(D.TOKEN_ATTRIBUTION)[None]
    assert (tokens[6:] == 0).all()  # later tokens cannot have an effect
    assert (tokens[:6] != 0).all()


def test_smollm2_with_autoencoders_says_the_same(smollm2: StandardModelContext) -> None:
    generator = torch.Generator().manual_seed(0)
    width = smollm2.get_dim_size(Dimension.MLP_ACTS)
    autoencoder = Autoencoder(
        torch.randn(64, width, generator=generator),
        torch.randn(width, 64, generator=generator) * 0.05,
        torch.zeros(width),
        torch.zeros(64),
        TopK(8),
    )
    context_of = AutoencoderContext.from_autoencoders(D.MLP_POST_ACT, {12: autoencoder})
    config = {"autoencoder_context": context_of, "layer_indices": [12]}
    store = why_mary(smollm2, D.LOGITS, D.ONLINE_AUTOENCODER_LATENT, D.AUTOENCODER_LATENT, **config)
    nearly(store.activations(D.LOGITS)[None], why_mary(smollm2, D.LOGITS).activations(D.LOGITS)[None])
    online, offline = (store.activations(dst)[12] for dst in (D.ONLINE_AUTOENCODER_LATENT, D.AUTOENCODER_LATENT))
    nearly(online, offline)
    assert ((online != 0).sum(-1) <= 8).all()
