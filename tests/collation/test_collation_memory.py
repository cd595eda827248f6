"""What a run keeps does not grow with the length of the texts."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from helpers.collation_models import model_context, random_texts
from neuron_explainer.collation.corpus.text_files import Text
from neuron_explainer.collation.corpus.windows import Batch
from neuron_explainer.collation.runs.job import CollatedModel
from neuron_explainer.collation.runs.local_run import run_locally
from neuron_explainer.collation.runs.preparation import job_of
from neuron_explainer.collation.runs.progress import Progress
from neuron_explainer.collation.settings import CollateSettings
from neuron_explainer.collation.statistics import sequence_table
from neuron_explainer.collation.statistics.collation import Collation
from neuron_explainer.collation.statistics.entry_kind import EntryKind
from neuron_explainer.collation.statistics.sequence_table import SequenceTable

SETTINGS = CollateSettings(context_length=8, top_k=2, random_k=1, quantiles=0, batch_tokens=512, layers=(0,))


def bytes_held(collation: Collation) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in collation.tensors().values())


def test_state_is_bounded_by_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence_table, "_FEWEST_KEPT", 64)
    context = model_context("gpt2", torch.float32)
    held, most_sequences = [], []
    take = Collation.add_batch

    def watch(collation: Collation, *arguments: object) -> None:
        take(collation, *arguments)  # type: ignore[arg-type]
        most_sequences.append(len(collation.sequences))

    monkeypatch.setattr(Collation, "add_batch", watch)
    texts = random_texts(1500, seed=1, longest=40)
    for n_texts in (150, 1500):
        job = job_of(
            CollatedModel(context),
            texts[:n_texts],
            SETTINGS,
            components={0: list(range(20))},
            progress=Progress(show=False),
        )
        collation, corpus = run_locally(job)
        held.append(bytes_held(collation))
    n_examples = 20 * (SETTINGS.top_k + SETTINGS.random_k)
    assert corpus.n_sequences > 20 * n_examples
    assert len(collation.sequences) <= n_examples
    # Between two clearings as many again may come in, and one batch.
    assert max(most_sequences) <= 2 * max(64, n_examples) + SETTINGS.batch_tokens
    assert held[1] <= held[0] * 1.05


def test_a_stream_is_read_as_it_is_needed() -> None:
    """An endless iterator works, and nothing is read beyond the current chunk."""
    read = []

    def endless() -> Iterator[Text]:
        for number in itertools.count():
            read.append(number)
            yield Text("w1 w2 w3 w4 w5 w6 w7 w8", f"text {number}")

    limited = CollateSettings(context_length=8, top_k=2, random_k=0, quantiles=0, batch_tokens=64, max_tokens=800)
    job = job_of(CollatedModel(model_context("gpt2", torch.float32)), endless, limited, progress=Progress(show=False))
    _, corpus = run_locally(job)
    assert (corpus.n_texts, corpus.n_tokens) == (100, 800)
    assert len(read) == 100


def test_tokens_of_sequences_survive_clearing_and_saving() -> None:
    table = SequenceTable()
    tokens = torch.arange(12).reshape(3, 4)
    table.add(Batch(tokens, torch.tensor([4, 2, 3]), torch.tensor([5, 6, 900])))
    table.keep_only([torch.tensor([[900, -1], [5, 5]])])
    assert len(table) == 2
    restored = SequenceTable.from_tensors(table.tensors())
    assert restored[5].tolist() == [0, 1, 2, 3]
    assert restored[900].tolist() == [8, 9, 10]
    assert np.array_equal(restored.merge(table)[900], table[900])


def test_examples_take_only_their_window() -> None:
    settings = CollateSettings(context_length=64, example_tokens=16, random_example_tokens=8)
    collation = Collation(settings, EntryKind.TOKENS)
    batch = Batch(torch.zeros(2, 64, dtype=torch.int64), torch.tensor([64, 64]), torch.arange(2))
    collation.add_batch(batch, lambda tokens, mask: {0: torch.rand(2, 64, 3)})
    assert collation.layers[0].top.activations.shape == (3, settings.top_k, 16)
    assert collation.layers[0].sample.activations.shape == (3, settings.sample_size, 8)


def test_activations_of_a_layer_are_let_go_of() -> None:
    """`add_batch` empties the model's answer layer by layer, so that no more than the rest of it is held."""
    given = {layer: torch.rand(1, 4, 2) for layer in range(3)}
    collation = Collation(CollateSettings(context_length=4), EntryKind.TOKENS)
    batch = Batch(torch.zeros(1, 4, dtype=torch.int64), torch.tensor([4]), torch.tensor([0]))
    collation.add_batch(batch, lambda tokens, mask: given)
    assert given == {}
    assert sorted(collation.layers) == [0, 1, 2]
