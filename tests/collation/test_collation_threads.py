"""Layers on several threads, and a run whose dataset could not be written: the same numbers, errors and files."""

import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import neuron_explainer as ne
from helpers.collation_models import begun_context, model_context, random_texts
from helpers.property_tests import property_settings
from neuron_explainer.activations.packed.writing import write_packed_layer
from neuron_explainer.collation.corpus.windows import Batch
from neuron_explainer.collation.runs import local_run
from neuron_explainer.collation.runs.saved_state import save_state
from neuron_explainer.collation.settings import CollateSettings
from neuron_explainer.collation.statistics.collation import Collation, RunModel
from neuron_explainer.collation.statistics.entry_kind import EntryKind
from neuron_explainer.collation.statistics.layer_state import LayerState
from neuron_explainer.collation.statistics.layer_threads import for_each_layer
from neuron_explainer.collation.statistics.rank_keys import EMPTY_RANK
from neuron_explainer.errors import CollateStopped, NonFiniteActivationError, OutOfSpaceError

CPU = torch.device("cpu")
SETTINGS: dict[str, Any] = {"context_length": 12, "top_k": 5, "batch_tokens": 60, "progress": False}
TEXTS = random_texts(60, seed=3)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def digest(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def test_each_layer_has_one_thread_and_results_have_their_order(threads: Callable[[int], None]) -> None:
    threads(3)
    seen = set()

    def work(layer: int) -> tuple[int, int, bool]:
        seen.add(threading.get_ident())
        time.sleep(0.01 * (5 - layer))
        return layer, torch.get_num_threads(), torch.is_grad_enabled()

    with torch.no_grad():
        assert for_each_layer(work, range(5), CPU) == [(layer, 1, False) for layer in range(5)]
    assert len(seen) == 3
    assert threading.get_ident() not in seen
    assert torch.get_num_threads() == 3
    threads(1)
    seen.clear()
    assert [layer for layer, *_ in for_each_layer(work, range(2), CPU)] == [0, 1]
    assert seen == {threading.get_ident()}
    threads(3)
    with torch.no_grad():
        assert for_each_layer(work, [4], CPU) == [(4, 1, False)]
        assert for_each_layer(work, [], CPU) == []
    assert seen == {threading.get_ident()}
    assert torch.get_num_threads() == 3


def test_the_first_error_comes_out_as_it_is(threads: Callable[[int], None]) -> None:
    threads(2)
    begun = []

    def work(layer: int) -> None:
        begun.append(layer)
        time.sleep(0.05 if layer == 0 else 0)
        if layer < 2:
            raise KeyError(layer)
        time.sleep(0.05)

    with pytest.raises(KeyError) as caught:
        for_each_layer(work, range(50), CPU)
    assert caught.value.args == (0,)
    assert len(begun) < 50
    assert torch.get_num_threads() == 2


def random_batches(dtype: torch.dtype, n_layers: int = 4) -> list[tuple[Batch, dict[int, torch.Tensor]]]:
    generator = torch.Generator().manual_seed(4)
    batches = []
    for number in range(4):
        lengths = torch.randint(1, 10, (6,), generator=generator)
        batch = Batch(torch.zeros(6, 9, dtype=torch.int64), lengths, torch.arange(6) + 6 * number)
        batches.append(
            (batch, {layer: torch.randn(6, 9, 70, generator=generator).to(dtype) for layer in range(n_layers)})
        )
    return batches


def giving(activations: dict[int, torch.Tensor]) -> RunModel:
    return lambda tokens, mask: dict(activations)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_threads_change_no_bit_of_the_state(dtype: torch.dtype, threads: Callable[[int], None]) -> None:
    made = []
    for n_threads in (1, 3):
        threads(n_threads)
        collation = Collation(CollateSettings(context_length=9, top_k=4, example_tokens=5), EntryKind.TOKENS)
        for batch, activations in random_batches(dtype):
            collation.add_batch(batch, giving(activations))
        made.append(collation.tensors())
    assert list(made[0]) == list(made[1])
    assert all(torch.equal(made[0][name].view(torch.uint8), made[1][name].view(torch.uint8)) for name in made[0])


def test_the_lowest_layer_that_is_not_finite_is_named(threads: Callable[[int], None]) -> None:
    threads(3)
    ((batch, activations), *_) = random_batches(torch.float32)
    for layer in (1, 2, 3):
        activations[layer][2, 0, 5] = torch.inf
    collation = Collation(CollateSettings(context_length=9), EntryKind.TOKENS)
    with pytest.raises(NonFiniteActivationError) as caught:
        collation.add_batch(batch, lambda tokens, mask: activations)
    assert (caught.value.layer, caught.value.component, caught.value.sequence_index) == (1, 5, 2)


@pytest.mark.parametrize("context", [model_context, begun_context])
def test_threads_give_the_same_files(
    context: Callable[[], Any], tmp_path: Path, threads: Callable[[int], None]
) -> None:
    for n_threads in (1, 3):
        threads(n_threads)
        ne.collate(context(), TEXTS, tmp_path / f"{n_threads}" / "out", **SETTINGS)
    assert digest(tmp_path / "1" / "out") == digest(tmp_path / "3" / "out")


@pytest.mark.usefixtures("interruptible")
def test_interrupted_with_threads(tmp_path: Path, threads: Callable[[int], None]) -> None:
    context, calm = model_context(), SETTINGS | {"save_every_seconds": 1e9}
    threads(2)
    ne.collate(context, TEXTS, tmp_path / "whole" / "out", **calm)
    path = tmp_path / "out"
    handle = (
        context.get_or_create_model().blocks[0].register_forward_hook(lambda *_: os.kill(os.getpid(), signal.SIGINT))
    )
    with pytest.raises(CollateStopped):
        ne.collate(context, TEXTS, path, **calm)
    handle.remove()
    ne.collate(context, TEXTS, path, **calm)
    assert digest(path) == digest(tmp_path / "whole" / "out")


@pytest.mark.parametrize("n_threads", [1, 2])
def test_stopped_while_written_loses_nothing(
    n_threads: int, tmp_path: Path, threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from neuron_explainer.collation.output import dataset_writing

    threads(n_threads)
    saved = []

    def save(*arguments: Any) -> None:
        save_state(*arguments)
        saved.append(arguments)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(local_run, "save_state", save)
        patch.setattr(dataset_writing, "write_packed_layer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ne.collate(model_context(), TEXTS, tmp_path / "out", **SETTINGS)
    assert len(saved) == 1
    assert not (tmp_path / "out").exists()

    def not_again(*_: object) -> Iterator[str]:
        yield from ()
        raise AssertionError("the texts were all in")

    with monkeypatch.context() as patch:
        patch.setattr("neuron_explainer.collation.runs.preparation.read_texts", not_again)
        ne.collate(model_context(), TEXTS, tmp_path / "out", **SETTINGS)
    ne.collate(model_context(), TEXTS, tmp_path / "whole" / "out", **SETTINGS)
    assert digest(tmp_path / "out") == digest(tmp_path / "whole" / "out")


def test_a_short_run_saves_nothing_and_a_long_one_before_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from neuron_explainer.collation.output import dataset_writing

    done: list[str] = []

    def save(*arguments: Any) -> None:
        save_state(*arguments)
        done.append("saved")

    def write(*arguments: Any) -> None:
        done.append("written")
        write_packed_layer(*arguments)

    monkeypatch.setattr(local_run, "save_state", save)
    monkeypatch.setattr(dataset_writing, "write_packed_layer", write)
    ne.collate(model_context(), TEXTS, tmp_path / "short", **SETTINGS)
    assert set(done) == {"written"}
    done.clear()
    ne.collate(model_context(), TEXTS, tmp_path / "long", save_every_seconds=1e-9, **SETTINGS)
    assert done[done.index("written") - 1] == "saved"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["long", "short"]


def test_what_stopped_the_writing_is_raised_also_if_the_work_cannot_be_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from neuron_explainer.collation.output import dataset_writing

    def full(*_: object) -> None:
        raise OutOfSpaceError("The disk is full.")

    def broken(*_: object) -> None:
        raise OSError("The layer cannot be written.")

    monkeypatch.setattr(local_run, "save_state", full)
    monkeypatch.setattr(dataset_writing, "write_packed_layer", broken)
    with pytest.raises(OSError, match="The layer cannot be written"):
        ne.collate(model_context(), TEXTS, tmp_path / "out", **SETTINGS)
    assert "could not be saved: The disk is full." in caplog.text


@property_settings(40)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_components=st.sampled_from([1, 7, 70]),
    scale=st.sampled_from([1e-3, 1.0, 300.0]),
    shift=st.sampled_from([-1.5, 0.0, 1.0]),
    dtype=st.sampled_from([torch.bfloat16, torch.float16]),
    skips_first=st.booleans(),
)
def test_a_narrow_dtype_gives_what_the_same_numbers_give_in_float32(
    seed: int, n_components: int, scale: float, shift: float, dtype: torch.dtype, skips_first: bool
) -> None:
    """Peaks and their places come from one pass in a narrow dtype; there are equal, negative and zero peaks."""
    generator = torch.Generator().manual_seed(seed)
    narrow, wide = (
        LayerState.empty(
            layer=0,
            component=torch.arange(n_components),
            seed=1,
            n_top=3,
            n_sample=4,
            top_width=5,
            sample_width=4,
            n_bins=8,
        )
        for _ in range(2)
    )
    for number in range(4):
        lengths = torch.randint(2, 11, (5,), generator=generator)
        values = torch.randn(5, 10, n_components, generator=generator) + shift
        values = ((values * 2).round() / 2).clamp_min(-2.0 if seed % 2 else 0.0) * scale
        values = torch.where(torch.rand(values.shape, generator=generator) < 0.1, -0.0, values).to(dtype)
        counted = EntryKind.TOKENS.counted(lengths, 10, skip_first_token=skips_first)
        if skips_first:
            values[:, 0] = 3e4
        values = values.masked_fill((torch.arange(10) >= lengths[:, None])[:, :, None], torch.nan)
        sequences = torch.arange(5) + 5 * number
        narrow.update(values, counted, lengths, sequences)
        wide.update(values.to(torch.float32), counted, lengths, sequences)
    for part in ("top", "sample"):
        mine, other = getattr(narrow, part).in_order(), getattr(wide, part).in_order()
        held = mine.rank != EMPTY_RANK
        for name in ("rank", "peak", "start", "length", "activations"):
            assert torch.equal(getattr(mine, name)[held], getattr(other, name)[held]), (part, name)
    assert torch.equal(narrow.active, wide.active)
    assert torch.equal(narrow.histogram.counts, wide.histogram.counts)
    assert torch.equal(narrow.histogram.edges(), wide.histogram.edges())
    assert torch.equal(narrow.moments.statistics().nan_to_num(), wide.moments.statistics().nan_to_num())
