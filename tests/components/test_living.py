"""Which components of a layer are ever active, against the records one by one."""

import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from helpers.neuron_records import INFO, TOKENS
from helpers.packed_layers import examples, layer_by_token
from neuron_explainer.activation_server.dataset_paths import resolve_neuron_dataset
from neuron_explainer.activations.activations import load_neuron
from neuron_explainer.activations.packed.layout import PackedExamples, PackedLayer
from neuron_explainer.activations.packed.writing import write_packed_dataset_info, write_packed_layer
from neuron_explainer.components.statistics.living import above_zero, living_components
from neuron_explainer.errors import NeuronNotFoundError

NAN = float("nan")


def layer(top: object, frequency: object = None, dtype: type = np.float16) -> PackedLayer:
    """A layer whose components have these activations on the three tokens of each top example; None: no example."""
    rows = [[[0.0] * 3 if each is None else each for each in row] for row in top]  # type: ignore[attr-defined]
    n, n_slots = len(rows), len(rows[0])
    used = [[-1 if each is None else 0 for each in row] for row in top]  # type: ignore[attr-defined]
    zeros, threes = np.zeros((n, n_slots)), np.full((n, n_slots), 3)
    given = examples(used, zeros, threes, rows)
    kept = PackedExamples(given.sequence, given.start, given.length, np.array(rows, dtype))
    return PackedLayer(
        sequences=np.zeros((1, 5), np.int32),
        sequence_lengths=np.array([3], np.int32),
        top=kept,
        random=examples([[-1]] * n, [[0]] * n, [[0]] * n, np.zeros((n, 1, 1))),
        moments=np.full((n, 4), np.nan),
        activation_frequency=None if frequency is None else np.array(frequency, np.float64),
    )


def written(folder: Path, packed: PackedLayer, n_components: int) -> str:
    info = msgspec.structs.replace(INFO, n_components=n_components)
    write_packed_dataset_info(folder, info, TOKENS)
    write_packed_layer(folder, 1, packed)
    return str(folder)


def living(path: str, of_layer: int = 1) -> list[int]:
    found = living_components(path, of_layer)
    assert found is not None
    return found.tolist()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_by_the_top_examples(tmp_path: Path, dtype: type) -> None:
    tiny = float(np.finfo(np.float16).smallest_subnormal)
    top = [
        [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
        [[0.0, tiny, 0.0], None],
        [[-0.0, -1.0, -2.0], None],
        [[-1.0, -1.0, -1.0], [0.0, 0.0, 3.0]],  # the second example is the higher one
        [None, None],  # nothing is known of it
    ]
    assert living(written(tmp_path, layer(top, dtype=dtype), len(top))) == [1, 3, 4]


def test_half_precision_is_compared_as_numbers_are() -> None:
    with np.errstate(invalid="ignore"):
        for values in (np.arange(2**16, dtype=np.uint16).view(np.float16), np.array([-1, 0, 2], np.float32)):
            np.testing.assert_array_equal(above_zero(values), values.astype(np.float64) > 0)


def test_the_frequency_says_it_where_it_is_known(tmp_path: Path) -> None:
    one, none = [[1.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]
    path = written(tmp_path, layer([one, none, one, none], [0.0, 0.25, NAN, NAN]), 4)
    assert living(path) == [1, 2]


def test_values_beyond_an_example_s_own_do_not_count(tmp_path: Path) -> None:
    packed = layer([[[0.0, 0.0, 9.0]], [[0.0, 9.0, 0.0]]])
    packed.top.length[:] = 2
    assert living(written(tmp_path, packed, 2)) == [1]


def test_against_the_records_of_the_embedded_datasets() -> None:
    for dst in ("mlp_post_act", "attn_write_norm"):
        path = resolve_neuron_dataset("tiny", dst)
        size = 512 if dst == "mlp_post_act" else 8
        expected = []
        for number in range(size):
            try:
                record = load_neuron(path, 3, number)
            except NeuronNotFoundError:
                break
            if (record.max_activation or 0) > 0:
                expected.append(number)
        assert living(path, 3) == expected


def test_it_is_read_once_and_again_after_a_change(tmp_path: Path) -> None:
    one, none = [[1.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]
    path = written(tmp_path, layer([one, none]), 2)
    first = living_components(path, 1)
    assert living_components(path, 1) is first
    written(tmp_path, layer([none, one]), 2)
    assert living(path) == [1]


def test_unknown_where_it_would_take_many_reads(tmp_path: Path) -> None:
    assert living_components("https://host/data", 0) is None
    (tmp_path / "0").mkdir()
    assert living_components(str(tmp_path), 0) is None
    with pytest.raises(NeuronNotFoundError):
        living_components(written(tmp_path, layer_by_token(), 2), 7)


def test_a_large_layer_takes_a_moment(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 50_000
    top = rng.normal(size=(n, 4, 3)).astype(np.float16)
    top[rng.random(n) < 0.2] = 0
    packed = layer(top.tolist())
    path = written(tmp_path, packed, n)
    start = time.perf_counter()
    found = living(path)
    assert time.perf_counter() - start < 1.0  # about 0.05 s on a machine of its own
    assert found == np.flatnonzero((top > 0).any(axis=(1, 2))).tolist()
