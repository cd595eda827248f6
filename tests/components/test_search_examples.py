"""Search in stored examples against all examples, one by one."""

from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import neuron_explainer as ne
from benchmarks.small_models import small_context
from neuron_explainer.activations.packed.dataset import PackedDataset
from neuron_explainer.components.search import index_files, stored
from neuron_explainer.components.search.asking import search
from neuron_explainer.components.search.index_files import INDEX_FILE_NAME, index_paths, open_index
from neuron_explainer.errors import InvalidRequestError

TEXTS = [" ".join(f"t{number}" for number in np.random.default_rng(seed).integers(2, 40, 30)) for seed in range(25)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", str(tmp_path / "cache"))
    index_files._OPEN.clear()


def made(folder, family="gpt2", dst="mlp_post_act", prepend_bos=False):
    ne.collate(
        small_context(family), TEXTS, folder, dst=dst, context_length=12, prepend_bos=prepend_bos, top_k=4, random_k=2,
        quantiles=2, examples_per_quantile=2, example_tokens=12 if "attn" in dst else 7, progress=False,
    )  # fmt: skip
    return PackedDataset.open(folder)


def every_hit(dataset, tokens, first=0):
    """For each component, the activations where the tokens stand in its stored examples, by place."""
    hits: dict[Any, dict[Any, float]] = {}
    for layer in dataset.info.layer_indices:
        reader = dataset.layer_reader(layer)
        for index in range(dataset.info.n_components):
            for windows in reader.windows(index).values():
                for window in windows:
                    ids = reader.sequences[window.sequence][: reader.sequence_lengths[window.sequence]].tolist()
                    strings = [dataset.token_strings[token_id] for token_id in ids]
                    for begin in range(len(strings) - len(tokens) + 1):
                        if strings[begin : begin + len(tokens)] != tokens:
                            continue
                        for position in range(begin, begin + len(tokens)):
                            place = position - window.start
                            if not 0 <= place < window.length or position < first:
                                continue
                            values = window.activations.astype(float)
                            if dataset.info.is_by_token_pair:
                                row = place * (place + 1) // 2
                                values = values[row + first * (window.start == 0) : row + place + 1].max()
                            else:
                                values = values[place]
                            hits.setdefault((layer, index), {})[tuple(ids), position] = float(values)
    return hits


@pytest.mark.parametrize("family", ["gpt2", "qwen2", "gemma2", "mixtral"])
@pytest.mark.parametrize("kind", ["most", "selective"])
def test_against_every_example(tmp_path, family, kind, monkeypatch):
    monkeypatch.setattr(stored, "_FIRST_BLOCK", 50)  # so that a search can stop early
    dataset = made(tmp_path / "data", family)
    strings = dataset.token_strings
    for ids in ([5], [7, 8], None):
        if ids is None:
            ids = PackedDataset.open(dataset.path).layer_reader(1).sequences[3, 4:7].tolist()
        tokens = [strings[token_id] for token_id in ids]
        hits = every_hit(dataset, tokens)
        scores = {}
        for (layer, index), places in hits.items():
            record = dataset.record(layer, index)
            peak = max(places.values())
            if kind == "most":
                scores[layer, index] = peak
            elif record.variance:
                scores[layer, index] = (peak - record.mean) / record.variance**0.5
        table: Any = search(dataset.path, "".join(tokens), kind=kind, n=9, progress=False)
        assert np.allclose(table.get("score", []), sorted(scores.values(), reverse=True)[:9])
        for row in table.itertuples():
            places = hits[row.layer, row.component]
            assert row.activation == max(places.values())
            assert row.score == pytest.approx(scores[row.layer, row.component])
            assert row.n_hits == len(places)
            assert row.token in tokens
            assert row.token in row.example
            assert row.activation in [value for (_, position), value in places.items() if position == row.position]


@pytest.mark.parametrize("prepend_bos", [False, True])
def test_heads_by_the_token_that_attends(tmp_path, prepend_bos):
    dataset = made(tmp_path / "data", "llama", "attn_write_norm", prepend_bos)
    hits = every_hit(dataset, [dataset.token_strings[5]], int(prepend_bos))
    table = search(dataset.path, dataset.token_strings[5], n=100, progress=False)
    expected = sorted((max(places.values()) for places in hits.values()), reverse=True)
    assert np.allclose(table["activation"], expected)


def test_words_and_tokens():
    found: Any = search("tiny", "LORD", n=50)
    assert set(found["token"]) == {" LORD"}
    assert set(search("tiny", "the LORD", " LORD", n=50)["token"]) == {" LORD"}
    assert search("tiny", "the LORD", -1, n=5)["name"].tolist() == search("tiny", "the LORD", 1, n=5)["name"].tolist()
    assert search("tiny", "LOR", n=5).empty
    assert search("tiny", "no such words at all").empty
    for row in found.itertuples():
        record = ne.load_neuron("tiny", row.layer, row.component)
        examples = [*record.most_positive_activation_records, *record.random_sample]
        examples += [example for bucket in record.random_sample_by_quantile or [] for example in bucket]
        assert row.activation == max(
            value
            for example in examples
            for token, value in zip(example.tokens, example.activations, strict=True)
            if token == " LORD"
        )


def test_a_changed_dataset_gets_a_new_index(tmp_path):
    dataset = made(tmp_path / "data")
    text = dataset.token_strings[5]
    before = search(dataset.path, text, n=3)
    assert (dataset.path / INDEX_FILE_NAME).is_file()
    stamp = (dataset.path / INDEX_FILE_NAME).stat().st_mtime_ns
    index_files._OPEN.clear()
    assert search(dataset.path, text, n=3).equals(before)
    assert (dataset.path / INDEX_FILE_NAME).stat().st_mtime_ns == stamp  # it was read, not made again
    layer = dataset.path / "layer_1.safetensors"
    tensors = load_file(layer)
    tensors["top_activations"] = tensors["top_activations"] + tensors["top_activations"].dtype.type(64)
    save_file(tensors, layer, metadata={"layer": "1"})
    after = search(dataset.path, text, n=3)
    assert set(after["layer"]) == {1}
    assert after["activation"].min() > 50


@pytest.mark.parametrize("damage", ["cut", "flipped", "another", "hostile"])
def test_a_damaged_or_hostile_index_is_made_again(tmp_path, damage):
    dataset = made(tmp_path / "data")
    text = dataset.token_strings[5]
    right = search(dataset.path, text, n=5)
    file = dataset.path / INDEX_FILE_NAME
    content = file.read_bytes()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        at = len(content) - 9
        file.write_bytes(content[:at] + bytes([content[at] ^ 0x40]) + content[at + 1 :])
    elif damage == "another":
        file.write_text("{}")
    else:
        tensors = load_file(file)
        for name, value in (("row", 2**31 - 1), ("sequence", -5), ("layer", 77), ("token_start", 2**60)):
            wrong = dict(tensors)
            wrong[name] = wrong[name].copy()
            wrong[name][3] = value
            metadata = {"state": index_files.state_of_dataset_files(dataset), "sha256": index_files._digest(wrong)}
            save_file(wrong, file, metadata=metadata)
            index_files._OPEN.clear()
            assert search(dataset.path, text, n=5).equals(right)
    index_files._OPEN.clear()
    assert search(dataset.path, text, n=5).equals(right)


def test_where_the_folder_cannot_be_written(tmp_path, monkeypatch):
    dataset = made(tmp_path / "data")
    beside, in_cache = index_paths(dataset.path)
    beside.mkdir()  # nothing can be written in its place
    open_index(dataset)
    assert in_cache.is_file()
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", "off")
    index_files._OPEN.clear()
    in_cache.unlink()
    assert not search(dataset.path, dataset.token_strings[5]).empty


def test_the_embedded_dataset_is_not_written_to():
    search("tiny", " the", n=1)
    (path,) = index_paths(index_files.INSTALLED / "tiny" / "mlp_post_act")
    assert path.is_file()


def test_other_datasets_are_refused(tmp_path):
    with pytest.raises(InvalidRequestError, match="address"):
        search("gpt2-xl", " the")
    (tmp_path / "json" / "0").mkdir(parents=True)
    with pytest.raises(InvalidRequestError, match=r"ne\.convert"):
        search(tmp_path / "json", " the", dst="mlp_post_act")
    dataset = made(tmp_path / "data")
    with pytest.raises(InvalidRequestError, match="has the layers"):
        search(dataset.path, "t5", layers=[9])
