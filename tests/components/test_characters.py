"""Characters that tokens split: they are found in stored examples, and stored tokens are run as they are stored."""

from typing import Any

import numpy as np
import pytest
import torch

import neuron_explainer as ne
from benchmarks.small_models import number_tokenizer, small_context
from neuron_explainer.activations.packed.dataset import PackedDataset
from neuron_explainer.activations.token_bytes import bytes_of_tokens
from neuron_explainer.components.search import index_files
from neuron_explainer.components.search.asking import search
from neuron_explainer.components.search.index_files import INDEX_FILE_NAME
from neuron_explainer.errors import InvalidRequestError, NotAtHandError
from neuron_explainer.vocabulary.places import ActivationLocationType

FRENCH = "le café — naïve “déjà vu” à Paris, où l’été finit"
TEXTS = [FRENCH, "Grüße aus Köln — schöne Straße über Österreich 🙂 ok", "And the LORD said unto Moses"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURON_EXPLAINER_CACHE", str(tmp_path / "cache"))
    index_files._OPEN.clear()


@pytest.fixture(scope="module")
def model():
    return ne.load_model("tiny", device="cpu")


def made(model, folder, texts=TEXTS, prepend_bos=False, **other):
    settings: dict[str, Any] = {"context_length": 100, "example_tokens": 100, **other}
    ne.collate(
        model, texts, folder, prepend_bos=prepend_bos, top_k=4, random_k=2, quantiles=2, examples_per_quantile=2,
        progress=False, **settings,
    )  # fmt: skip
    return folder


def test_bytes_of_tokens_are_those_of_the_text(model):
    for text in [*TEXTS, "मानव 👩‍👩‍👧 ﷽", "\\xc3 and \\xe2\\x80 as text"]:
        tokens = model.decode_token_list(model.encode(text, add_special_tokens=False))
        assert b"".join(bytes_of_tokens(tokens)) == text.encode()
        assert len(bytes_of_tokens(tokens)) == len(tokens)


def test_split_characters_are_found(tmp_path, model):
    folder = made(model, tmp_path / "data")
    for words in ["café", "naïve", "—", "“", "Köln", "schöne Straße", "🙂", "é"]:
        found: Any = search(folder, words, n=3, progress=False)
        assert len(found) == 3, words
        assert all(words in example for example in found["example"]) or words == "é"
        for row in found.itertuples():
            record = ne.load_neuron(str(folder), row.layer, row.component)
            of_tokens = {
                (token, activation)
                for _, _, _, example in record.examples()
                for token, activation in zip(example.tokens, example.activations, strict=True)
            }
            assert (row.token, row.activation) in of_tokens
    # A literal text about bytes stays what it is, and the parts of a character are not such a text.
    assert search(folder, "\\xc3", n=3, progress=False).empty
    literal = made(model, tmp_path / "literal", ["the byte \\xc3 of a text " * 2])
    assert len(search(literal, "\\xc3", n=3, progress=False)) == 3


def test_old_indexes_are_made_again(tmp_path, model, monkeypatch):
    folder = made(model, tmp_path / "data")
    search(folder, "Moses", progress=False)
    monkeypatch.setattr(index_files, "_FORMAT", "1")
    index_files._OPEN.clear()
    (folder / INDEX_FILE_NAME).unlink()
    search(folder, "Moses", progress=False)
    before = (folder / INDEX_FILE_NAME).read_bytes()
    monkeypatch.undo()
    index_files._OPEN.clear()
    assert len(search(folder, "Köln", n=2, progress=False)) == 2
    assert (folder / INDEX_FILE_NAME).read_bytes() != before


def over_stored(context, folder, layer, n_skipped):
    """The neurons' activations on the stored tokens, (tokens, layers * neurons)."""
    reader = PackedDataset.open(folder).layer_reader(layer)
    model, values = context.get_or_create_model(), []
    place = ActivationLocationType.MLP_POST_ACT
    for ids, length in zip(reader.sequences.tolist(), reader.sequence_lengths.tolist(), strict=True):
        recording = model.recording([place])
        with torch.no_grad():
            model(torch.tensor([ids[:length]], device="cpu"), hooks=[recording])
        layers = range(context.n_layers)
        values.append(np.concatenate([recording[place, each][0, n_skipped:].double().numpy() for each in layers], 1))
    return np.concatenate(values)


@pytest.mark.parametrize("prepend_bos", [False, True])
@pytest.mark.parametrize("kind", ["bytes", "blanks"])
def test_neighbours_over_the_tokens_that_are_stored(tmp_path, model, kind, prepend_bos):
    context = model if kind == "bytes" else small_context("gpt2")
    texts = TEXTS if kind == "bytes" else ["t5 t9 t3 t9 t12 t40 t7 t4", "t4 t2 t33 t21 t8 t2 t60"]
    length = 24 if kind == "bytes" else 6
    folder = made(context, tmp_path / "data", texts, prepend_bos, context_length=length, example_tokens=length)
    values = over_stored(context, folder, 1, int(prepend_bos))
    size = context.n_neurons
    own = values[:, size + 3]
    for given in (None, True):  # what the component's own texts begin with does not matter
        node = ne.component(folder, "L1N3", model=context, prepend_bos=given)
        table: Any = node.neighbours(5, "activation", progress=False)
        assert table.attrs["n_tokens"] == len(values)
        for row in table.itertuples():
            expected = np.corrcoef(own, values[:, row.layer * size + row.component])[0, 1]
            assert row.correlation == pytest.approx(expected, abs=1e-5)


def test_stored_tokens_of_another_vocabulary(tmp_path, model):
    numbers = small_context("gpt2")
    others = ne.StandardModelContext("others", numbers.get_or_create_model(), number_tokenizer("u"))
    folder = made(numbers, tmp_path / "numbers", ["t5 t9 t3"], context_length=6, example_tokens=6)
    with pytest.raises(InvalidRequestError, match="texts="):
        ne.component(folder, "L1N3", model=others).neighbours(by="activation", progress=False)
    folder = made(model, tmp_path / "data", TEXTS[2:])
    ne.convert(folder, tmp_path / "json")
    with pytest.raises(NotAtHandError, match="texts="):
        ne.component(tmp_path / "json", "L1N3", model=model).neighbours(by="activation", progress=False)
