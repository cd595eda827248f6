"""Whole runs against brute force: every activation derived sequence by sequence, kept, sorted and counted."""

import logging
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from torch import Tensor

import neuron_explainer as ne
from helpers.collation_models import model_context, random_texts
from helpers.derived_scalars import annotations_unchecked
from helpers.property_tests import property_settings
from neuron_explainer import DerivedScalarType as Dst
from neuron_explainer.activations.packed.dataset import PackedDataset
from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.collation import convert, verify
from neuron_explainer.collation.corpus.windows import windows_of
from neuron_explainer.collation.runs.scalar_source import entry_kind_of
from neuron_explainer.collation.settings import CollateSettings
from neuron_explainer.errors import (
    DatasetExistsError,
    InvalidRequestError,
    MalformedDatasetError,
    MissingFileError,
    UnknownDatasetError,
    UnknownNameError,
    UnsupportedLocationError,
)
from neuron_explainer.models.autoencoder_context import AutoencoderContext
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder
from neuron_explainer.models.layers.unfilled import fill
from neuron_explainer.models.model_context import StandardModelContext

CONTEXT, TOP, RANDOM, WINDOW = 12, 5, 3, 7


def everything(
    context: StandardModelContext, texts: list[str], dst: Dst, **options: Any
) -> tuple[list[list[int]], dict[int, list[np.ndarray]]]:
    """Every sequence's tokens, and for each layer every sequence's activations, (entries, components)."""
    sequences = [
        window for text in texts for window in windows_of(context.encode(text), CollateSettings(context_length=CONTEXT))
    ]
    by_layer: dict[int, list[np.ndarray]] = {}
    config = options.pop("config", None) or ne.DstConfig()
    config = ne.DstConfig(model_context=context, autoencoder_context=config.autoencoder_context)
    for tokens in sequences:
        store = ne.derive(tokens, [dst], config, **options)
        for layer, values in store.activations(dst).items():
            values = values.double()
            if values.ndim == 3:
                row, column = np.tril_indices(len(tokens))
                values = values[row, column]
            by_layer.setdefault(layer or 0, []).append(values.numpy())
    return sequences, by_layer


def assert_is_brute_force(
    path: Path, context: StandardModelContext, texts: list[str], dst: Dst, window: int, **options: Any
) -> None:
    sequences, by_layer = everything(context, texts, dst, **options)
    spelled = [context.decode_token_list(tokens) for tokens in sequences]
    dataset = PackedDataset.open(path)
    assert dataset.info.layer_indices == sorted(by_layer)
    by_pair = entry_kind_of(dst).value == "token_pairs"
    for layer, activations in by_layer.items():
        assert dataset.n_components(layer) == activations[0].shape[1]
        for component in range(dataset.n_components(layer)):
            record = dataset.record(layer, component)
            columns = [values[:, component] for values in activations]
            peaks = np.array([column.max() for column in columns])
            top = record.most_positive_activation_records
            expected = np.sort(peaks)[::-1][:TOP]
            assert [example.max_activation for example in top] == pytest.approx(expected, rel=1e-5, abs=1e-6)
            for example in [*top, *record.random_sample]:
                assert is_in_corpus(example, spelled, columns, window, by_pair)
            assert len(record.random_sample) == min(RANDOM, len(sequences))
            assert len({tuple(example.tokens) for example in top}) == len(top) or len(set(map(tuple, spelled))) < len(
                spelled
            )
            assert_statistics(record, np.concatenate(columns))


def is_in_corpus(
    example: ne.ActivationRecord, spelled: list[list[str]], columns: list[np.ndarray], window: int, by_pair: bool
) -> bool:
    """Whether the example is a window around the peak of one of the sequences, with that one's activations."""
    for tokens, column in zip(spelled, columns, strict=True):
        for start in range(len(tokens) - len(example.tokens) + 1):
            kept = column if by_pair else column[start : start + len(example.tokens)]
            if (
                tokens[start : start + len(example.tokens)] == example.tokens
                and np.allclose(kept, example.activations, rtol=1e-5, atol=1e-6)
                and np.isclose(kept.max(), column.max())
                and len(example.tokens) == (len(tokens) if by_pair else min(window, len(tokens)))
            ):
                return True
    return False


def assert_statistics(record: NeuronRecord, column: np.ndarray) -> None:
    deviation = column - column.mean()
    variance = (deviation**2).mean()
    assert record.mean == pytest.approx(column.mean(), rel=1e-6, abs=1e-9)
    assert record.variance == pytest.approx(variance, rel=1e-6, abs=1e-15)
    if variance > 1e-12:
        assert record.skewness == pytest.approx((deviation**3).mean() / variance**1.5, rel=1e-6, abs=1e-6)
        assert record.kurtosis == pytest.approx((deviation**4).mean() / variance**2, rel=1e-6)
    assert record.activation_frequency == pytest.approx((column > 0).mean())
    assert record.histogram is not None
    assert sum(record.histogram.counts) == len(column)


def collate(context: StandardModelContext, texts: Any, out: Path, dst: Dst = Dst.MLP_POST_ACT, **options: Any) -> Path:
    plain: dict[str, Any] = {
        "context_length": CONTEXT,
        "top_k": TOP,
        "random_k": RANDOM,
        "batch_tokens": 50,
        "activation_dtype": "float32",
        "progress": False,
        "quantiles": 0,
        "example_tokens": None if entry_kind_of(dst).value == "token_pairs" else WINDOW,
    }
    return ne.collate(context, texts, out, dst=dst, **plain | options)


@pytest.mark.parametrize(
    ("family", "dst"),
    [
        ("gpt2", Dst.MLP_POST_ACT),
        ("gpt2", Dst.ATTN_WRITE_NORM),
        ("gpt2", Dst.RESID_POST_MLP),
        ("gpt2", Dst.LOGITS),
        ("gpt_neox", Dst.MLP_POST_ACT),
        ("gpt_neox", Dst.ATTN_QK_PROBS),
        ("llama", Dst.MLP_WRITE_NORM),
        ("llama", Dst.ATTN_WRITE_NORM_PER_SEQUENCE_TOKEN),
        ("gemma2", Dst.MLP_PRE_ACT),
        ("gemma2", Dst.FLATTENED_ATTN_POST_SOFTMAX),
    ],
)
def test_equal_to_brute_force(family: str, dst: Dst, tmp_path: Path) -> None:
    context, texts = model_context(family), random_texts(5)
    path = collate(context, texts, tmp_path / "made", dst)
    assert_is_brute_force(path, context, texts, dst, WINDOW)


def test_gradients_of_a_loss(tmp_path: Path) -> None:
    context, texts = model_context(), random_texts(5)
    loss = ne.LossFnConfig(ne.LossFnName.LOGIT_MINUS_MEAN, target_tokens=["w7"])
    path = collate(context, texts, tmp_path / "made", Dst.MLP_ACT_TIMES_GRAD, loss=loss)
    assert_is_brute_force(path, context, texts, Dst.MLP_ACT_TIMES_GRAD, WINDOW, loss=loss)


def test_autoencoder_latents(tmp_path: Path) -> None:
    context, texts = model_context(), random_texts(5)
    generator = torch.Generator().manual_seed(1)
    n_neurons, n_latents = context.n_neurons, 20

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64) * 0.3

    autoencoder = Autoencoder(
        random(n_latents, n_neurons), random(n_neurons, n_latents), random(n_neurons), random(n_latents)
    )
    config = ne.DstConfig(autoencoder_context=AutoencoderContext.from_autoencoders(Dst.MLP_POST_ACT, {1: autoencoder}))
    path = collate(context, texts, tmp_path / "made", Dst.ONLINE_MLP_AUTOENCODER_LATENT, layers=[1], config=config)
    assert PackedDataset.open(path).info.n_components == n_latents
    _, by_layer = everything(context, texts, Dst.ONLINE_MLP_AUTOENCODER_LATENT, config=config)
    column = np.concatenate([values[:, 3] for values in by_layer[1]])
    record = ne.load_neuron(path, 1, 3)
    assert_statistics(record, column)
    assert record.most_positive_activation_records[0].max_activation == pytest.approx(column.max(), rel=1e-6)


@property_settings(8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 999), n_texts=st.integers(1, 5), budget=st.integers(1, 200))
def test_any_batching_gives_the_same(
    seed: int, n_texts: int, budget: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    context, texts = model_context(), random_texts(n_texts, seed)
    path = collate(context, texts, tmp_path_factory.mktemp("any") / "made", batch_tokens=budget)
    assert_is_brute_force(path, context, texts, Dst.MLP_POST_ACT, WINDOW)


def test_beginning_token_is_shown_and_counts_nowhere(tmp_path: Path) -> None:
    context, texts = model_context(), random_texts(6)
    path = collate(context, texts, tmp_path / "made", prepend_bos=True, example_tokens=CONTEXT)
    record = ne.load_neuron(path, 0, 5)
    assert {example.tokens[0] for example in record.most_positive_activation_records} == {"w1"}
    columns = []
    for text in texts:
        for window in windows_of(context.encode(text), CollateSettings(context_length=CONTEXT, prepend_bos=True)):
            store = ne.derive([1, *window], [Dst.MLP_POST_ACT], ne.DstConfig(model_context=context))
            columns.append(store.activations(Dst.MLP_POST_ACT)[0][1:, 5].double().numpy())
    assert_statistics(record, np.concatenate(columns))
    assert [max(example.activations[1:]) for example in record.most_positive_activation_records] == pytest.approx(
        np.sort([column.max() for column in columns])[::-1][:TOP], rel=1e-5
    )


def test_quantile_groups_are_ordered_by_peak(tmp_path: Path) -> None:
    context, texts = model_context(), random_texts(40)
    path = collate(context, texts, tmp_path / "made", quantiles=4, examples_per_quantile=2)
    for component in range(10):
        record = ne.load_neuron(path, 1, component)
        assert record.random_sample_by_quantile is not None
        assert record.quantile_boundaries is not None
        assert [len(bucket) for bucket in record.random_sample_by_quantile] == [2, 2, 2, 2]
        floor = -np.inf
        for bucket, border in zip(record.random_sample_by_quantile, record.quantile_boundaries, strict=True):
            for example in bucket:
                assert floor <= max(example.activations) <= border + 1e-6
            floor = max(max(example.activations) for example in bucket)
        assert record.quantile_boundaries[-1] == pytest.approx(record.max_activation)
        shown = [tuple(example.activations) for bucket in record.random_sample_by_quantile for example in bucket]
        assert len({*shown, *(tuple(example.activations) for example in record.random_sample)}) == 8 + RANDOM


def test_few_sequences_leave_groups_short(tmp_path: Path) -> None:
    context = model_context()
    path = collate(context, random_texts(1, longest=5), tmp_path / "one", quantiles=3)
    record = ne.load_neuron(path, 0, 0)
    assert len(record.most_positive_activation_records) == len(record.random_sample) == 1
    assert record.random_sample_by_quantile == [[], [], []]
    path = collate(context, random_texts(5, longest=5), tmp_path / "five", quantiles=3)
    buckets = ne.load_neuron(path, 0, 0).random_sample_by_quantile
    assert buckets is not None
    assert sum(map(len, buckets)) == 2


def test_the_layouts_hold_the_same_records(tmp_path: Path) -> None:
    context, texts = model_context(), random_texts(6)
    packed = collate(context, texts, tmp_path / "packed", quantiles=2, layers=[2])
    as_json = collate(context, texts, tmp_path / "json", quantiles=2, layers=[2], layout="json")
    converted = convert(packed, tmp_path / "converted", "json")
    back = convert(converted, tmp_path / "back", "packed")
    for layer, component in ((2, 0), (2, 17)):
        record = ne.load_neuron(packed, layer, component)
        for other in (as_json, converted, back):
            assert ne.load_neuron(other, layer, component) == record, other
    assert PackedDataset.open(back).info.derived_scalar_type == "mlp_post_act"
    with pytest.raises(InvalidRequestError, match="already"):
        convert(packed, tmp_path / "again", "packed")
    with pytest.raises(DatasetExistsError):
        convert(packed, back, "json")
    with pytest.raises(MissingFileError):
        verify(as_json, model=context)
    (as_json / "2" / "5.json").unlink()
    with pytest.raises(MalformedDatasetError, match="without gaps"):
        convert(as_json, tmp_path / "gap", "packed")
    assert not (tmp_path / "gap").exists()


def test_datasets_by_their_registered_names(tmp_path: Path) -> None:
    made = convert("tiny", tmp_path / "heads", dst="attn_write_norm")
    assert ne.load_neuron(made, 2, 1) == ne.load_neuron("tiny", 2, 1, "attn_write_norm")
    assert verify("tiny", 2, dst="attn_write_norm").n_records == 2
    for call in (verify, lambda dataset: convert(dataset, tmp_path / "x")):
        with pytest.raises(UnknownDatasetError, match="Choose one of: tiny,"):
            call("tinny")
        with pytest.raises(UnknownDatasetError, match="Unknown folder"):
            call(tmp_path / "missing")
        with pytest.raises(InvalidRequestError, match="gpt2-xl is at an address"):
            call("gpt2-xl")
        with annotations_unchecked(), pytest.raises(UnsupportedLocationError, match="not of type NoneType"):
            call(None)  # type: ignore[arg-type]
    with annotations_unchecked(), pytest.raises(UnsupportedLocationError, match="out is None"):
        convert("tiny", None)  # type: ignore[arg-type]


def test_verify_finds_what_is_wrong(tmp_path: Path) -> None:
    context, texts = model_context(), random_texts(6)
    path = collate(context, texts, tmp_path / "made", quantiles=2)
    report = verify(path, n=10, model=context)
    assert report.n_records == 10
    assert report.n_activations > 100
    assert report.largest_difference < 1e-5
    by_pair = collate(context, texts, tmp_path / "pairs", Dst.ATTN_WRITE_NORM)
    assert verify(by_pair, n=5, model=context).largest_difference < 1e-5
    mlp = context.get_or_create_model().blocks[1].mlp
    fill(mlp, "input_weight", mlp.input_weight.detach() * 1.5)
    fill(mlp, "input_bias", cast(Tensor, mlp.input_bias).detach() * 1.5)
    wrong = verify(path, n=40, model=context)
    assert wrong.largest_difference > 0.1
    assert wrong.where is not None
    assert wrong.where[0] == 1
    assert "1:" in str(wrong)
    with pytest.raises(InvalidRequestError, match="48"):
        verify(path, model=model_context("gpt_neox"))


def test_a_finished_dataset_is_left_alone_and_another_is_refused(tmp_path: Path) -> None:
    context, texts = model_context(), random_texts(3)
    path = collate(context, texts, tmp_path / "made")
    before = {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in path.iterdir()}
    collate(context, texts, path)
    assert {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in path.iterdir()} == before
    with pytest.raises(DatasetExistsError, match=r"settings\.top_k \(there 5, asked 6\)"):
        collate(context, texts, path, top_k=6)
    collate(context, texts, path, top_k=6, overwrite=True)
    assert len(ne.load_neuron(path, 0, 0).most_positive_activation_records) <= 6
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(DatasetExistsError, match="not a dataset made by collate"):
            collate(context, texts, tmp_path / "mine", overwrite=overwrite)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"
    assert not [name for name in tmp_path.iterdir() if name.name.endswith(".collating")]


def test_registered_and_described(tmp_path: Path) -> None:
    context, texts = model_context(), random_texts(3)
    path = collate(context, texts, tmp_path / "made", registered_as="my-neurons", corpus_name="Random words")
    assert ne.load_neuron("my-neurons", 1, 2) == ne.load_neuron(path, 1, 2)
    info = PackedDataset.open(path).info
    assert info.model == "random-gpt2"
    assert info.corpus == "Random words"
    assert info.tokenizer_hash == context.tokenizer.fingerprint
    assert info.provenance["corpus"]["n_texts"] == 3
    assert info.provenance["corpus"]["n_tokens"] == sum(len(context.encode(text)) for text in texts)
    assert info.provenance["settings"]["context_length"] == CONTEXT
    assert set(info.provenance["versions"]) == {"neuron_explainer", "torch", "numpy", "python"}
    with pytest.raises(InvalidRequestError, match="my-neurons"):
        collate(context, texts, tmp_path / "other", registered_as="my-neurons")


def test_refusals(tmp_path: Path) -> None:
    context = model_context()
    for wrong, error, named in (
        ({"dst": "mlp_write"}, InvalidRequestError, "cannot be collated"),
        ({"dst": "mlp_pst_act"}, UnknownNameError, "mlp_post_act"),
        ({"layers": [3]}, InvalidRequestError, "no layer 3"),
        ({"context_length": 1000}, InvalidRequestError, "at most 64"),
        ({"dtype": "bfloat16"}, InvalidRequestError, "bfloat16"),
        ({"texts": []}, InvalidRequestError, "contain no tokens"),
        ({"dst": "attn_write_norm", "example_tokens": 5}, InvalidRequestError, "whole sequences"),
        ({"dst": "mlp_act_times_grad"}, InvalidRequestError, "nothing to differentiate"),
        ({"dst": "online_mlp_autoencoder_latent"}, InvalidRequestError, "autoencoder"),
    ):
        arguments: dict[str, Any] = {"texts": ["w1 w2"], "context_length": CONTEXT, **wrong}
        with pytest.raises(error, match=named):
            ne.collate(context, arguments.pop("texts"), tmp_path / "made", progress=False, **arguments)
        assert not (tmp_path / "made").exists()


def test_progress_is_logged_where_nobody_looks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="neuron_explainer.collation"):
        collate(model_context(), random_texts(3), tmp_path / "made", progress=None)
    assert "tokens/s" in caplog.text


def test_a_process_without_standard_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    assert collate(model_context(), random_texts(3), tmp_path / "made", progress=None) == tmp_path / "made"


@pytest.mark.parametrize("layout", ["packed", "json"])
def test_a_folder_whose_name_is_not_utf_8(layout: Any, tmp_path: Path) -> None:
    made = collate(model_context(), random_texts(3), tmp_path / "caf\udce9", layout=layout, progress=False)
    assert ne.load_neuron(made, 0, 0).random_sample
    back = ne.convert(made, tmp_path / "caf\udcea")
    (described,) = (made if layout == "packed" else back).glob("dataset.json")
    assert "caf" in described.read_text()


def test_one_sequence_longer_than_a_batch(tmp_path: Path) -> None:
    context = model_context()
    path = collate(context, [" ".join(["w3"] * 40)], tmp_path / "made", batch_tokens=1)
    assert_statistics(
        ne.load_neuron(path, 0, 0),
        np.concatenate([v[:, 0] for v in everything(context, [" ".join(["w3"] * 40)], Dst.MLP_POST_ACT)[1][0]]),
    )
