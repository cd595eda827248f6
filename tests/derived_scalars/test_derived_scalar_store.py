"""The store of derived scalars: what is looked up, ranked, tabulated, summed, saved and named."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from helpers.property_tests import property_settings
from neuron_explainer.activations.derived_scalars.indexing import DerivedScalarIndex
from neuron_explainer.activations.derived_scalars.store.derived_scalar_store import DerivedScalarStore
from neuron_explainer.activations.derived_scalars.store.top_k import top_k
from neuron_explainer.errors import (
    IndexOutOfRangeError,
    InvalidRequestError,
    MalformedStoreError,
    MissingFileError,
    NotDerivedError,
)
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as Dst
from neuron_explainer.vocabulary.dimensions import Dimension
from neuron_explainer.vocabulary.nodes import PassType

TOKENS = ["A", " b", "\n"]
FORWARD, BACKWARD = PassType.FORWARD, PassType.BACKWARD
INFINITY = float("inf")


def masked_logits() -> torch.Tensor:
    logits = torch.arange(18.0).reshape(3, 3, 2) - 9
    logits[torch.ones(3, 3).triu(1).bool()] = -INFINITY
    return logits


@pytest.fixture
def store() -> DerivedScalarStore:
    neurons = torch.zeros(3, 4)
    neurons[1, 2], neurons[2, 3], neurons[0, 1] = 5.0, -7.0, 3.0
    return DerivedScalarStore(
        {
            (Dst.MLP_ACT_TIMES_GRAD, FORWARD): {0: neurons, 2: neurons / 10},
            (Dst.ATTN_QK_LOGITS, FORWARD): {1: masked_logits()},
            (Dst.ATTN_WRITE_NORM, FORWARD): {1: torch.tensor([[0.1, 0.2]] * 5 + [[0.3, 9.5]])},
            (Dst.TOKEN_ATTRIBUTION, FORWARD): {None: torch.tensor([[1.0], [2.0], [-4.0]])},
            (Dst.MLP_POST_ACT, BACKWARD): {0: neurons * 100},
        },
        TOKENS,
        token_ids=[4, 9, 2],
        loss=1.5,
        model_name="small",
    )


def test_results_are_looked_up_by_type_pass_and_index(store: DerivedScalarStore) -> None:
    assert list(store.activations(Dst.MLP_ACT_TIMES_GRAD)) == [0, 2]
    assert store[DerivedScalarIndex(Dst.MLP_ACT_TIMES_GRAD, 2, (1, 2))] == 0.5
    assert store[DerivedScalarIndex(Dst.MLP_ACT_TIMES_GRAD, 0, (1, "All"))].tolist() == [0, 0, 5, 0]
    assert store[DerivedScalarIndex(Dst.MLP_POST_ACT, 0, (1, 2), BACKWARD)] == 500
    assert store[DerivedScalarIndex(Dst.TOKEN_ATTRIBUTION, None, (2, 0))] == -4
    assert Dst.MLP_POST_ACT in store
    assert Dst.MLP_PRE_ACT not in store
    assert (store.loss, store.traced_activation, store.tokens) == (1.5, None, TOKENS)


def test_what_was_not_derived_is_said_with_what_was(store: DerivedScalarStore) -> None:
    with pytest.raises(NotDerivedError, match=r"^mlp_post_act was not derived\. Choose one of: mlp_act_times_grad"):
        store.activations(Dst.MLP_POST_ACT)
    with pytest.raises(NotDerivedError, match="has no layer 1; derived: 0, 2"):
        store[DerivedScalarIndex(Dst.MLP_ACT_TIMES_GRAD, 1, (0, 0))]
    with pytest.raises(IndexOutOfRangeError, match=r"mlp_acts is out of range\. Choose 0 to 3"):
        store[DerivedScalarIndex(Dst.MLP_ACT_TIMES_GRAD, 0, (0, 4))]
    with pytest.raises(NotDerivedError):
        store.topk(1, layers=[7])


def test_tensors_of_other_axes_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match=r"the shape \(2, 4\)\. For 3 tokens"):
        DerivedScalarStore({(Dst.MLP_POST_ACT, FORWARD): {0: torch.zeros(2, 4)}}, TOKENS)
    with pytest.raises(InvalidRequestError):
        DerivedScalarStore({(Dst.MLP_POST_ACT, FORWARD): {0: torch.zeros(1, 3, 4)}}, TOKENS)
    with pytest.raises(InvalidRequestError):
        DerivedScalarStore({(Dst.ATTN_WRITE_NORM, FORWARD): {0: torch.zeros(9, 4)}}, TOKENS)


def test_results_hold_no_graph() -> None:
    attached = torch.zeros(3, 4, requires_grad=True) * 2
    store = DerivedScalarStore({(Dst.MLP_POST_ACT, FORWARD): {0: attached}}, TOKENS)
    assert not store.activations(Dst.MLP_POST_ACT)[0].requires_grad


def test_the_largest_and_smallest_by_hand(store: DerivedScalarStore) -> None:
    values, indices = store.topk(3, dsts=Dst.MLP_ACT_TIMES_GRAD)
    assert values.tolist() == [5.0, 3.0, 0.5]
    assert [(index.layer_index, index.tensor_indices) for index in indices] == [(0, (1, 2)), (0, (0, 1)), (2, (1, 2))]
    values, indices = store.topk(2, largest=False, dsts=[Dst.MLP_ACT_TIMES_GRAD, Dst.TOKEN_ATTRIBUTION])
    assert values.tolist() == [-7.0, -4.0]
    assert indices[1] == DerivedScalarIndex(Dst.TOKEN_ATTRIBUTION, None, (2, 0))
    values, _ = store.topk(1, dsts=Dst.MLP_ACT_TIMES_GRAD, layers=2)
    assert values.tolist() == [0.5]
    values, _ = store.topk(1, pass_type=BACKWARD)
    assert values.tolist() == [500.0]


def test_masked_logits_never_rank(store: DerivedScalarStore) -> None:
    smallest, indices = store.topk(100, largest=False, dsts=Dst.ATTN_QK_LOGITS)
    assert len(smallest) == 12  # six pairs, two heads
    assert smallest[0] == -9
    assert indices[0].tensor_indices == (0, 0, 0)
    largest, _ = store.topk(100, dsts=Dst.ATTN_QK_LOGITS)
    assert largest.tolist() == sorted(smallest.tolist(), reverse=True)


finite = st.floats(-100, 100, width=32)
numbers = st.one_of(finite, st.sampled_from([float("nan"), -INFINITY, 0.0, 1.0]))


@property_settings(60)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5), st.data()), min_size=1, max_size=3), st.data())
def test_top_k_is_what_sorting_everything_gives(
    shapes: list[tuple[int, int, st.DataObject]], data: st.DataObject
) -> None:
    tensors = [
        torch.tensor(data.draw(st.lists(numbers, min_size=rows * columns, max_size=rows * columns))).view(rows, columns)
        for rows, columns, _ in shapes
    ]
    k, largest = data.draw(st.integers(1, 40)), data.draw(st.booleans())
    ranked = top_k(tensors, k, largest)
    everything = sorted(
        (number for tensor in tensors for number in tensor.flatten().tolist() if number > -INFINITY), reverse=largest
    )
    assert ranked.values.tolist() == everything[:k]
    at = zip(ranked.tensor.tolist(), ranked.row.tolist(), ranked.column.tolist(), strict=True)
    assert [tensors[tensor][row, column].item() for tensor, row, column in at] == everything[:k]
    assert len(set(zip(ranked.tensor.tolist(), ranked.row.tolist(), ranked.column.tolist(), strict=True))) == len(
        everything[:k]
    )


def test_top_k_reads_views_without_copying_them() -> None:
    stored = torch.randn(2, 5, 5)
    by_pair = stored.permute(1, 2, 0)
    ranked = top_k([by_pair], 3)
    assert ranked.values.tolist() == stored.flatten().sort(descending=True).values[:3].tolist()
    row, column = int(ranked.row[0]), int(ranked.column[0])
    assert by_pair[row].flatten()[column] == stored.max()


@pytest.mark.parametrize("k", [0, -1, True, 1.5])
def test_k_must_be_positive(store: DerivedScalarStore, k: object) -> None:
    import jaxtyping

    with pytest.raises((InvalidRequestError, jaxtyping.TypeCheckError)):
        store.topk(k)  # type: ignore[arg-type]


def test_a_table_has_names_tokens_and_values(store: DerivedScalarStore) -> None:
    frame = store.to_dataframe(2, dsts=[Dst.MLP_ACT_TIMES_GRAD, Dst.ATTN_WRITE_NORM])
    assert frame["name"].tolist() == ["L1H1@2<-2", "L0N2@1"]
    assert frame["value"].tolist() == [9.5, 5.0]
    assert frame["derived_scalar"].tolist() == ["attn_write_norm", "mlp_act_times_grad"]
    assert frame["component"].tolist() == ["L1H1", "L0N2"]
    assert frame["token_index"].tolist() == [2, 1]
    assert frame["token"].tolist() == ["\n", " b"]
    assert frame["attended_to_index"].isna().tolist() == [False, True]
    assert len(store.to_dataframe(dsts=Dst.MLP_ACT_TIMES_GRAD)) == 24
    assert store.to_dataframe(1, dsts=Dst.TOKEN_ATTRIBUTION)["layer"].isna().all()


def test_a_table_of_too_much_is_refused() -> None:
    store = DerivedScalarStore({(Dst.LOGITS, FORWARD): {None: torch.zeros(3, 400_000)}}, TOKENS)
    with pytest.raises(InvalidRequestError, match=r"1,200,000 rows exceeds the limit of 1,000,000\. Give k"):
        store.to_dataframe()
    assert len(store.to_dataframe(5)) == 5


@pytest.mark.parametrize(
    ("dst", "layer", "indices", "name"),
    [
        (Dst.MLP_POST_ACT, 3, (1, 17), "L3N17@1 ' b'"),
        (Dst.UNFLATTENED_ATTN_WRITE_NORM, 5, (1, 0, 2), "L5H2@1 ' b' <- 0 'A'"),
        (Dst.ATTN_WRITE_NORM, 5, (4, 2), "L5H2@2 '\\n' <- 1 ' b'"),
        (Dst.ATTN_WRITE_NORM_PER_SEQUENCE_TOKEN, 5, (1, 2), "L5H2@1 ' b'"),
        (Dst.ONLINE_MLP_AUTOENCODER_LATENT, 0, (0, 9), "L0A9/mlp@0 'A'"),
        (Dst.AUTOENCODER_LATENT, 0, (0, 9), "L0A9@0 'A'"),
        (Dst.TOKEN_ATTRIBUTION, None, (1, 0), "EMB@1 ' b'"),
        (Dst.MLP_LAYER_WRITE_NORM, 4, (0, 0), "L4MLP@0 'A'"),
        (Dst.RESID_POST_MLP_NORM, 4, (0, 0), "L4RESID@0 'A'"),
        (Dst.MLP_WRITE, 4, (0, 3, 8), "L4N3.8@0 'A'"),
        (Dst.LOGITS, None, (1, 50), "V50@1 ' b'"),
        (Dst.MLP_POST_ACT, 3, ("All", 17), "L3N17"),
    ],
)
def test_what_people_call_it(dst: Dst, layer: int | None, indices: tuple[int, ...], name: str) -> None:
    assert DerivedScalarStore({}, TOKENS).name(DerivedScalarIndex(dst, layer, indices)) == name


def test_an_axis_is_summed_where_it_is(store: DerivedScalarStore) -> None:
    summed = store.sum_over(Dimension.MLP_ACTS)
    assert summed.activations(Dst.MLP_ACT_TIMES_GRAD)[0].tolist() == [[3.0], [5.0], [-7.0]]
    assert summed.activations(Dst.TOKEN_ATTRIBUTION)[None].shape == (3, 1)
    assert summed.loss == store.loss
    both = summed.sum_over(Dimension.SEQUENCE_TOKENS)
    assert both.activations(Dst.MLP_ACT_TIMES_GRAD)[0].tolist() == [[1.0]]
    with pytest.raises(InvalidRequestError, match=r"No scalar here has the axis 'latents'\. Choose one of: 1, heads"):
        store.sum_over(Dimension.AUTOENCODER_LATENTS)


def test_a_file_gives_everything_back(store: DerivedScalarStore, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "store.safetensors"
    for original in (store, store.sum_over(Dimension.ATTN_HEADS)):
        original.save(path)
        again = DerivedScalarStore.load(path)
        assert sorted(again.contents(), key=str) == sorted(original.contents(), key=str)
        for dst, pass_type, _ in original.contents():
            for layer, tensor in original.activations(dst, pass_type).items():
                torch.testing.assert_close(again.activations(dst, pass_type)[layer], tensor, rtol=0, atol=0)
        assert (again.tokens, again.token_ids, again.loss) == (TOKENS, [4, 9, 2], 1.5)
        assert (again.traced_activation, again.model_name, again.summed) == (None, "small", original.summed)
    assert [file.name for file in path.parent.iterdir()] == ["store.safetensors"]


def test_layers_come_in_order_whatever_order_they_were_given_in(tmp_path: Path) -> None:
    by_layer: dict[int | None, torch.Tensor] = {layer: torch.zeros(3, 2) + layer for layer in (10, 2, 0, 11)}
    store = DerivedScalarStore({(Dst.MLP_POST_ACT, FORWARD): by_layer}, TOKENS)
    assert list(store.activations(Dst.MLP_POST_ACT)) == [0, 2, 10, 11]
    store.save(tmp_path / "store")
    assert list(DerivedScalarStore.load(tmp_path / "store").activations(Dst.MLP_POST_ACT)) == [0, 2, 10, 11]


def test_tensors_that_share_memory_are_saved(tmp_path: Path) -> None:
    one = torch.randn(3, 4)
    store = DerivedScalarStore({(Dst.MLP_POST_ACT, FORWARD): {0: one, 1: one}}, TOKENS)
    store.save(tmp_path / "store")
    assert DerivedScalarStore.load(tmp_path / "store").activations(Dst.MLP_POST_ACT)[1].equal(one)


def test_files_that_are_none_are_refused(store: DerivedScalarStore, tmp_path: Path) -> None:
    path = tmp_path / "store"
    with pytest.raises(MissingFileError):
        DerivedScalarStore.load(path)
    path.write_bytes(b"hello, world, this is no safetensors file")
    with pytest.raises(MalformedStoreError):
        DerivedScalarStore.load(path)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(MalformedStoreError, match="format"):
        DerivedScalarStore.load(path)
    store.save(path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(MalformedStoreError):
        DerivedScalarStore.load(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("metadata", {"tokens": TOKENS, "summed": [], "loss": [1.0]}),
        ("metadata", {"tokens": [1, 2], "summed": []}),
        ("metadata", {"tokens": TOKENS, "summed": [], "other": 1}),
        ("metadata", []),
        ("order", [5]),
        ("order", "mlp_post_act"),
        ("order", ["mlp_post_act|forward|none|none"]),
        ("order", ["x" * 10_000]),
        ("format", "x" * 10_000),
    ],
)
def test_headers_with_other_values_are_refused(key: str, value: Any, store: DerivedScalarStore, tmp_path: Path) -> None:
    path = tmp_path / "store"
    store.save(path)
    with safe_open(path, framework="pt") as file:
        header = {**file.metadata(), key: value if key == "format" else json.dumps(value)}
    save_file(load_file(path), path, header)
    with pytest.raises(MalformedStoreError) as caught:
        DerivedScalarStore.load(path)
    assert len(str(caught.value)) < 1000


def test_headers_that_are_nested_without_end_are_refused(store: DerivedScalarStore, tmp_path: Path) -> None:
    path = tmp_path / "store"
    store.save(path)
    with safe_open(path, framework="pt") as file:
        header = {**file.metadata(), "order": "[" * 100_000}
    save_file(load_file(path), path, header)
    with pytest.raises(MalformedStoreError):
        DerivedScalarStore.load(path)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_tensors_of_other_dtypes_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(InvalidRequestError, match="it must be of floating point, with 16 bits or more"):
        DerivedScalarStore({(Dst.MLP_POST_ACT, FORWARD): {0: torch.zeros(len(TOKENS), 3).to(dtype)}}, TOKENS)


def test_tensors_without_numbers_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="has the shape"):
        DerivedScalarStore({(Dst.MLP_POST_ACT, FORWARD): {0: torch.zeros(len(TOKENS), 0)}}, TOKENS)


def test_moving_keeps_everything_but_the_device(store: DerivedScalarStore) -> None:
    moved = store.to("meta")
    assert moved.device.type == "meta"
    assert store.device.type == "cpu"
    assert moved.contents() == store.contents()
    assert moved.loss == 1.5


def test_the_repr_is_short(store: DerivedScalarStore) -> None:
    assert repr(store).startswith('<DerivedScalarStore: 3 tokens "A b\\n", loss 1.5; tensors of mlp_act_times_grad (2)')
    assert len(repr(store)) < 250


def test_what_was_summed_is_named_as_a_whole(store: DerivedScalarStore) -> None:
    by_token = store.sum_over(Dimension.MLP_ACTS)
    values, (index,) = by_token.topk(1, dsts=Dst.MLP_ACT_TIMES_GRAD)
    assert index == DerivedScalarIndex(Dst.MLP_ACT_TIMES_GRAD, 0, (1, "All"))
    assert by_token[index].tolist() == values.tolist() == [5.0]
    assert by_token.name(index) == "L0N*@1 ' b'"
    both = by_token.sum_over(Dimension.SEQUENCE_TOKENS).to_dataframe(k=1, dsts=Dst.MLP_ACT_TIMES_GRAD)
    assert list(both.name) == ["L0N*"]
    assert both.token_index.isna().all()
    assert both.token.isna().all()


def test_what_is_loaded_is_in_the_order_that_it_was_derived_in(store: DerivedScalarStore, tmp_path: Path) -> None:
    store.save(tmp_path / "scalars")
    loaded = DerivedScalarStore.load(tmp_path / "scalars")
    assert loaded.contents() == store.contents()
    assert repr(loaded) == repr(store)
