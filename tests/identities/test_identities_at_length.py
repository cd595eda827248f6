"""The same identities at sizes that take too long for `make test`: prompts beyond every window, and every edge."""

import pytest
import torch

from helpers.derived_scalars import (
    FAMILIES,
    N_LAYERS,
    annotations_unchecked,
    close,
    context,
    derived,
    logit_difference,
    output_biases,
)
from helpers.tiny_models import random_tokens
from neuron_explainer.activations.derived_scalars import DerivedScalarType as D
from neuron_explainer.activations.derived_scalars import DstConfig, derive, derive_batch
from neuron_explainer.activations.derived_scalars.indexing import NodeIndex
from neuron_explainer.vocabulary.nodes import NodeType

pytestmark = pytest.mark.long

LENGTH = 60
EDGE_PROMPT = random_tokens(1, 14, seed=1)[0].tolist()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("family", FAMILIES)
def test_writes_add_up_in_long_prompts(family: str, seed: int) -> None:
    dsts = [D.ATTN_WRITE, D.RESID_DELTA_ATTN, D.MLP_WRITE, D.RESID_DELTA_MLP]
    prompt = random_tokens(1, LENGTH, seed=seed)[0].tolist()
    store = derived(family, dsts, prompt=prompt, loss=None)
    for layer in range(N_LAYERS):
        of = {dst: store.activations(dst)[layer] for dst in dsts}
        attention_bias, mlp_bias = output_biases(family, layer, prompt)
        close(of[D.ATTN_WRITE].sum(dim=(1, 2)) + attention_bias, of[D.RESID_DELTA_ATTN])
        close(of[D.MLP_WRITE].sum(dim=1) + mlp_bias, of[D.RESID_DELTA_MLP])


@pytest.mark.parametrize("family", FAMILIES)
def test_many_prompts_of_any_length_are_the_same_in_a_batch(family: str) -> None:
    dsts = [D.LOGITS, D.ATTN_ACT_TIMES_GRAD, D.MLP_ACT_TIMES_GRAD, D.TOKEN_ATTRIBUTION, D.ATTN_WRITE_NORM]
    prompts = [random_tokens(1, length, seed=length)[0].tolist() for length in range(1, LENGTH, 3)]
    config = DstConfig(model_context=context(family))
    together = derive_batch(prompts, dsts, config, loss=logit_difference)
    for prompt, store in zip(prompts, together, strict=True):
        alone = derive(prompt, dsts, config, loss=logit_difference)
        for dst in dsts:
            for layer, tensor in alone.activations(dst).items():
                close(store.activations(dst)[layer], tensor)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_edge_between_the_neurons_of_two_layers_is_the_same_from_either_end(family: str) -> None:
    token = len(EDGE_PROMPT) - 1
    n_neurons = context(family).n_neurons

    def edges_of(layer: int, dst: D, seen_in: int) -> torch.Tensor:
        """One row for each neuron of a layer: its edges to or from all neurons of another."""
        rows = []
        for neuron in range(n_neurons):
            node = NodeIndex(NodeType.MLP_NEURON, layer, (token, neuron))
            store = derived(
                family, dst, prompt=EDGE_PROMPT, node_index_for_attribution=node, layer_indices=[layer, seen_in]
            )
            rows.append(store.activations(dst)[seen_in][token])
        return torch.stack(rows)

    with annotations_unchecked():
        from_above = edges_of(0, D.MLP_IN_EDGE_ATTRIBUTION, 2)
        from_below = edges_of(2, D.MLP_OUT_EDGE_ATTRIBUTION, 0)
    torch.testing.assert_close(from_above, from_below.T, rtol=1e-8, atol=1e-14)
    assert (from_above != 0).any()
