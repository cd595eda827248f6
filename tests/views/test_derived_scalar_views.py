"""Figures and tables of derived scalars: values, labels, and errors."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from helpers.html_reading import assert_harmless
from neuron_explainer.activations.derived_scalars.store.derived_scalar_store import DerivedScalarStore
from neuron_explainer.errors import InvalidRequestError, NotDerivedError
from neuron_explainer.views.colour import plotly_colour_scale
from neuron_explainer.views.derived_scalars import plot, ranked_table
from neuron_explainer.views.heatmap import format_value, token_heatmap
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as Dst
from neuron_explainer.vocabulary.nodes import PassType

TOKENS = ["A", " b", "\n", " b", "<b>"]
T = len(TOKENS)
LABELS = ["A", "·b", "↵", "·b", "&lt;b&gt;"]


@pytest.fixture
def store() -> DerivedScalarStore:
    generator = torch.Generator().manual_seed(0)
    neurons: dict[int | None, torch.Tensor] = {layer: torch.randn(T, 6, generator=generator) for layer in range(3)}
    pairs = torch.randn(T, T, 2, generator=generator)
    pairs[torch.ones(T, T).triu(1).bool()] = -float("inf")
    flat = torch.randn(T * (T + 1) // 2, 2, generator=generator)
    return DerivedScalarStore(
        {
            (Dst.MLP_ACT_TIMES_GRAD, PassType.FORWARD): neurons,
            (Dst.ATTN_QK_LOGITS, PassType.FORWARD): {1: pairs},
            (Dst.ATTN_WRITE_NORM, PassType.FORWARD): {1: flat},
            (Dst.TOKEN_ATTRIBUTION, PassType.FORWARD): {None: torch.randn(T, 1, generator=generator)},
            (Dst.MLP_WRITE, PassType.FORWARD): {0: torch.randn(T, 6, 8, generator=generator)},
        },
        TOKENS,
        loss=0.25,
        model_name="<small>",
    )


def test_tokens_by_layers_are_sums_over_components(store: DerivedScalarStore) -> None:
    figure = store.plot(Dst.MLP_ACT_TIMES_GRAD)
    (trace,) = figure.data
    expected = np.stack([tensor.sum(-1).numpy() for tensor in store.activations(Dst.MLP_ACT_TIMES_GRAD).values()])
    np.testing.assert_allclose(trace.z, expected, rtol=1e-5)
    assert list(figure.layout.xaxis.ticktext) == LABELS
    assert list(figure.layout.yaxis.ticktext) == ["0", "1", "2"]
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("token", "layer")
    assert "summed over each layer's components" in figure.layout.title.text


def test_colours_are_symmetric_around_zero_and_shared(store: DerivedScalarStore) -> None:
    (trace,) = store.plot(Dst.MLP_ACT_TIMES_GRAD).data
    assert trace.zmin == -trace.zmax
    assert trace.zmax == pytest.approx(np.abs(trace.z).max())
    assert [tuple(stop) for stop in trace.colorscale] == plotly_colour_scale()
    assert dict(plotly_colour_scale())[0.5] == "#ffffff"


def test_flattened_pairs_are_summed_by_the_token_that_attends(store: DerivedScalarStore) -> None:
    (trace,) = store.plot(Dst.ATTN_WRITE_NORM).data
    flat = store.activations(Dst.ATTN_WRITE_NORM)[1].sum(-1)
    starts = [0, 1, 3, 6, 10, 15]
    expected = [float(flat[start:end].sum()) for start, end in itertools.pairwise(starts)]
    np.testing.assert_allclose(trace.z[0], expected, rtol=1e-5)


def test_one_layer_shows_its_largest_components_first(store: DerivedScalarStore) -> None:
    figure = store.plot(Dst.MLP_ACT_TIMES_GRAD, 1, k=2)
    (trace,) = figure.data
    tensor = store.activations(Dst.MLP_ACT_TIMES_GRAD)[1]
    best = tensor.abs().amax(0).argsort(descending=True)[:2].tolist()
    np.testing.assert_allclose(trace.z, tensor[:, best].T.numpy())
    assert list(figure.layout.yaxis.ticktext) == [f"L1N{number}" for number in best]
    (trace,) = store.plot(Dst.MLP_ACT_TIMES_GRAD, 1, component=4).data
    np.testing.assert_allclose(trace.z, tensor[:, [4]].T.numpy())


def test_attention_is_a_matrix_with_masked_pairs_empty(store: DerivedScalarStore) -> None:
    figure = store.plot(Dst.ATTN_QK_LOGITS, 1, component=1)
    (trace,) = figure.data
    lower = np.tril(np.ones((T, T), dtype=bool))
    expected = store.activations(Dst.ATTN_QK_LOGITS)[1][:, :, 1].numpy()
    np.testing.assert_allclose(np.asarray(trace.z)[lower], expected[lower])
    assert np.isnan(np.asarray(trace.z)[~lower]).all()
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("attended to", "attended from")
    assert figure.layout.yaxis.autorange == "reversed"
    flattened = store.plot(Dst.ATTN_WRITE_NORM, 1, component=0).data[0].z
    assert np.asarray(flattened)[3, 1] == pytest.approx(float(store.activations(Dst.ATTN_WRITE_NORM)[1][7, 0]))


def test_a_layer_of_heads_is_small_patterns_with_one_scale(store: DerivedScalarStore) -> None:
    figure = store.plot(Dst.ATTN_QK_LOGITS, 1)
    assert len(figure.data) == 2
    assert {trace.zmax for trace in figure.data} == {max(trace.zmax for trace in figure.data)}
    assert [note.text for note in figure.layout.annotations] == ["L1H0", "L1H1"]


def test_a_scalar_without_layers_has_one_row(store: DerivedScalarStore) -> None:
    (trace,) = store.plot(Dst.TOKEN_ATTRIBUTION).data
    np.testing.assert_allclose(trace.z, store.activations(Dst.TOKEN_ATTRIBUTION)[None].T.numpy())


def test_names_and_integers_of_numpy(store: DerivedScalarStore) -> None:
    figure = store.plot(Dst.MLP_ACT_TIMES_GRAD, 1, component=2)
    assert plot(store, "MLP_ACT_TIMES_GRAD", np.int64(1), component=2, pass_type="Forward") == figure
    for layer in ("1", 1.5):
        with pytest.raises(NotDerivedError, match="derived: 0–2"):
            plot(store, Dst.MLP_ACT_TIMES_GRAD, layer)  # type: ignore[arg-type]


def test_plots_that_cannot_be_shown_are_refused(store: DerivedScalarStore) -> None:
    with pytest.raises(InvalidRequestError, match="2 axes besides its tokens"):
        store.plot(Dst.MLP_WRITE, 0)
    with pytest.raises(NotDerivedError, match="has no layer 3; derived: 0–2"):
        store.plot(Dst.MLP_ACT_TIMES_GRAD, 3)
    with pytest.raises(InvalidRequestError, match="needs a layer"):
        store.plot(Dst.MLP_ACT_TIMES_GRAD, component=1)
    with pytest.raises(InvalidRequestError, match="no component 6; components: 0–5"):
        store.plot(Dst.MLP_ACT_TIMES_GRAD, 0, component=6)
    with pytest.raises(InvalidRequestError, match=r"k is 0\. Give a whole number, 1 or more"):
        store.plot(Dst.MLP_ACT_TIMES_GRAD, 0, k=0)


def test_a_ranked_table_has_components_tokens_and_values(store: DerivedScalarStore) -> None:
    html = ranked_table(store, 4, dsts=[Dst.MLP_ACT_TIMES_GRAD, Dst.ATTN_QK_LOGITS])
    values, indices = store.topk(4, dsts=[Dst.MLP_ACT_TIMES_GRAD, Dst.ATTN_QK_LOGITS])
    assert html.count("<tr>") == 5
    assert f"{values[0]:.4g}" in html
    assert f">L{indices[0].layer_index}{'N' if indices[0].dst is Dst.MLP_ACT_TIMES_GRAD else 'H'}" in html


def test_a_store_shows_itself_escaped_and_without_scripts(store: DerivedScalarStore) -> None:
    html = store._repr_html_()
    assert "&lt;b&gt;" in html
    assert "&lt;small&gt;" in html
    assert "<b>" not in html
    assert "<script" not in html
    assert "mlp_act_times_grad" in html
    assert "0–2" in html
    assert "loss 0.25" in html


def test_a_store_of_masked_values_alone() -> None:
    masked = torch.full((T, T, 1), -float("inf"))
    store = DerivedScalarStore({(Dst.ATTN_QK_LOGITS, PassType.FORWARD): {0: masked}}, TOKENS)
    assert "attn_qk_logits" in store._repr_html_()
    assert np.isnan(np.asarray(store.plot(Dst.ATTN_QK_LOGITS, 0).data[0].z)).all()


def _patterns_store(n_tokens: int = T, n_layers: int = 2, n_heads: int = 3) -> DerivedScalarStore:
    generator = torch.Generator().manual_seed(0)
    allowed = torch.ones(n_tokens, n_tokens).tril().bool()
    by_layer: dict[int | None, torch.Tensor] = {}
    for layer in range(n_layers):
        logits = torch.randn(n_tokens, n_tokens, n_heads, generator=generator)
        by_layer[layer] = logits.masked_fill(~allowed[:, :, None], -float("inf")).softmax(dim=1)
    return DerivedScalarStore({(Dst.ATTN_QK_PROBS, PassType.FORWARD): by_layer}, [f" t{n}" for n in range(n_tokens)])


def test_probabilities_without_a_layer_are_a_grid_of_heads() -> None:
    store = _patterns_store()
    figure = store.plot("attn_qk_probs")
    names = [note.text for note in figure.layout.annotations]
    assert names == ["L0H0", "L0H1", "L0H2", "L1H0", "L1H1", "L1H2"]
    for number, trace in enumerate(figure.data):
        expected = store.activations("attn_qk_probs")[number // 3][:, :, number % 3].numpy()
        np.testing.assert_allclose(np.nan_to_num(trace.z), expected, atol=1e-6)
    rows = {trace.yaxis for trace in figure.data[:3]}
    assert len(rows) == 3
    tops = [figure.layout[axis.replace("y", "yaxis", 1) if axis != "y" else "yaxis"].domain[1] for axis in rows]
    assert len(set(tops)) == 1  # a layer is a row


def test_probabilities_have_colours_from_0_to_1() -> None:
    figure = _patterns_store().plot("attn_qk_probs", 1)
    for trace in figure.data:
        assert (trace.zmin, trace.zmax) == (0, 1)
        assert trace.colorscale[0][1] == "#ffffff"
        assert trace.colorscale[-1] == plotly_colour_scale()[-1]


def test_values_with_a_sign_keep_the_symmetric_scale(store: DerivedScalarStore) -> None:
    trace = store.plot(Dst.ATTN_QK_LOGITS, 1).data[0]
    assert trace.zmin == -trace.zmax
    assert list(trace.colorscale) == plotly_colour_scale()


def test_the_first_token_can_be_left_out(store: DerivedScalarStore) -> None:
    whole = store.plot(Dst.ATTN_QK_LOGITS, 1, component=0).data[0].z
    figure = store.plot(Dst.ATTN_QK_LOGITS, 1, component=0, without_first_token=True)
    np.testing.assert_array_equal(figure.data[0].z, whole[1:, 1:])
    assert list(figure.layout.xaxis.ticktext) == LABELS[1:]
    assert figure.data[0].zmax == np.nanmax(np.abs(whole[1:, 1:]))
    neurons = store.plot(Dst.MLP_ACT_TIMES_GRAD, without_first_token=True)
    np.testing.assert_allclose(neurons.data[0].z, store.plot(Dst.MLP_ACT_TIMES_GRAD).data[0].z[:, 1:])
    flat = store.plot(Dst.ATTN_WRITE_NORM, without_first_token=True).data[0].z
    matrices = [store.plot(Dst.ATTN_WRITE_NORM, 1, component=head).data[0].z[1:, 1:] for head in range(2)]
    np.testing.assert_allclose(flat[0], np.nansum(matrices, axis=(0, 2)))
    with pytest.raises(InvalidRequestError, match="True or False"):
        store.plot(Dst.ATTN_QK_LOGITS, 1, without_first_token="yes")
    with pytest.raises(InvalidRequestError, match="one token alone"):
        _patterns_store(1).plot("attn_qk_probs", 1, without_first_token=True)


def test_a_grid_that_a_notebook_cannot_show_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="Give a layer"):
        _patterns_store(600, 2, 5).plot("attn_qk_probs")


def test_the_title_says_that_it_is_a_gradient() -> None:
    values: dict[int | None, torch.Tensor] = {0: torch.ones(T, 4)}
    store = DerivedScalarStore({(Dst.MLP_POST_ACT, PassType.BACKWARD): values}, TOKENS)
    assert "gradient" in store.plot(Dst.MLP_POST_ACT, 0, pass_type="backward").layout.title.text


@pytest.mark.parametrize(
    "options",
    [
        {"dst": Dst.MLP_ACT_TIMES_GRAD},
        {"dst": Dst.MLP_ACT_TIMES_GRAD, "layer": 1},
        {"dst": Dst.ATTN_QK_LOGITS},
        {"dst": Dst.ATTN_QK_LOGITS, "layer": 1, "component": 1},
        {"dst": Dst.ATTN_WRITE_NORM, "layer": 1},
        {"dst": Dst.TOKEN_ATTRIBUTION},
    ],
)
def test_a_figure_has_static_html_of_its_values(store: DerivedScalarStore, options: dict[str, Any]) -> None:
    figure = store.plot(**options)
    root = assert_harmless(figure._snapshot)
    tokens = root.find("bdi")
    assert len(tokens) >= T
    assert "<b>" in root.text
    assert "None" not in root.text
    largest = float(np.nanmax([np.nanmax(trace.z) for trace in figure.data]))
    assert any(format_value(largest) in token.attributes.get("title", "") for token in tokens)


def test_labels_are_no_mathematics() -> None:
    values: dict[int | None, torch.Tensor] = {0: torch.ones(2, 4)}
    store = DerivedScalarStore({(Dst.MLP_POST_ACT, PassType.FORWARD): values}, ["$x$", "$"])
    assert list(store.plot("mlp_post_act").layout.xaxis.ticktext) == ["&#36;x&#36;", "&#36;"]
    assert "tex2jax_ignore" in store._repr_html_()


@pytest.mark.parametrize(
    "values",
    [
        torch.tensor([1.0, -2.0]),
        torch.tensor([1.0, -2.0], requires_grad=True),
        torch.tensor([[1.0, -2.0]], dtype=torch.bfloat16),
        np.array([1.0, -2.0]),
        np.array([[1.0], [-2.0]], dtype=np.float16),
    ],
)
def test_heatmaps_take_tensors_and_arrays(values: Any) -> None:
    assert token_heatmap(["a", "b"], values) == token_heatmap(np.array(["a", "b"]), [1.0, -2.0])  # type: ignore[arg-type]


def test_heatmaps_refuse_matrices() -> None:
    with pytest.raises(InvalidRequestError, match="must be numbers"):
        token_heatmap(["a", "b"], torch.ones(2, 2))  # type: ignore[arg-type]
