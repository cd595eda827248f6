"""The accumulators against brute force: everything kept, then sorted and counted."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.property_tests import property_settings
from neuron_explainer.collation.statistics.entry_kind import EntryKind
from neuron_explainer.collation.statistics.histogram import RunningHistogram
from neuron_explainer.collation.statistics.layer_state import LayerState
from neuron_explainer.collation.statistics.moments import Moments, PowerSums
from neuron_explainer.collation.statistics.rank_keys import (
    EMPTY_RANK,
    rank_of_chance,
    rank_of_score,
    sequence_index_of_rank,
)
from neuron_explainer.collation.statistics.scratch import Scratch
from neuron_explainer.errors import NonFiniteActivationError

N_TOP, N_SAMPLE, WIDTH, N_BINS = 4, 6, 5, 16


def empty_state(n_components: int, layer: int = 3, seed: int = 7) -> LayerState:
    return LayerState.empty(
        layer=layer,
        component=torch.arange(n_components),
        seed=seed,
        n_top=N_TOP,
        n_sample=N_SAMPLE,
        top_width=WIDTH,
        sample_width=WIDTH,
        n_bins=N_BINS,
    )


def corpus(seed: int, n_sequences: int, n_components: int, ties: bool) -> list[torch.Tensor]:
    """Activations of sequences of 1 to 9 tokens: (tokens, components) each."""
    generator = torch.Generator().manual_seed(seed)
    sequences = []
    for _ in range(n_sequences):
        length = int(torch.randint(1, 10, (), generator=generator))
        values = torch.randn(length, n_components, generator=generator) ** 3
        sequences.append((values * 2).round() / 2 if ties else values)
    return sequences


def batch_of(sequences: list[torch.Tensor], numbers: list[int]) -> tuple[torch.Tensor, ...]:
    """A padded batch (padding is garbage) of the sequences of these numbers."""
    lengths = torch.tensor([len(sequences[number]) for number in numbers])
    padded = torch.full((len(numbers), int(lengths.max()), sequences[0].shape[1]), 1e30)
    for row, number in enumerate(numbers):
        padded[row, : lengths[row]] = sequences[number]
    counted = EntryKind.TOKENS.counted(lengths, padded.shape[1], skip_first_token=False)
    return padded, counted, lengths, torch.tensor(numbers)


def state_of(sequences: list[torch.Tensor], batches: list[list[int]]) -> LayerState:
    state = empty_state(sequences[0].shape[1])
    for numbers in batches:
        state.update(*batch_of(sequences, numbers))
    return state


def cut(numbers: list[int], borders: list[int]) -> list[list[int]]:
    edges = [0, *sorted({border % (len(numbers) + 1) for border in borders}), len(numbers)]
    return [numbers[start:end] for start, end in itertools.pairwise(edges) if start < end]


def assert_same(left: LayerState, right: LayerState) -> None:
    for part in ("top", "sample"):
        mine, other = getattr(left, part).in_order(), getattr(right, part).in_order()
        for name in ("rank", "peak", "start", "length", "activations"):
            held = mine.rank != EMPTY_RANK
            assert torch.equal(getattr(mine, name)[held], getattr(other, name)[held]), (part, name)
        assert torch.equal(mine.rank, other.rank)
    assert torch.equal(left.histogram.counts, right.histogram.counts)
    assert torch.equal(left.histogram.edges(), right.histogram.edges())
    assert torch.equal(left.active, right.active)
    # Blocks are summed in float32: over thousands of random corpora, moments agree to within 3e-6.
    torch.testing.assert_close(
        left.moments.statistics(), right.moments.statistics(), rtol=1e-5, atol=1e-5, equal_nan=True
    )


sizes = st.integers(1, 40)
borders = st.lists(st.integers(0, 40), max_size=6)


@property_settings(40)
@given(
    seed=st.integers(0, 2**32 - 1), n_sequences=sizes, n_components=st.integers(1, 6), cuts=borders, ties=st.booleans()
)
def test_equal_to_brute_force_however_batched(
    seed: int, n_sequences: int, n_components: int, cuts: list[int], ties: bool
) -> None:
    sequences = corpus(seed, n_sequences, n_components, ties)
    state = state_of(sequences, cut(list(range(n_sequences)), cuts))
    everything = torch.cat(sequences).double().numpy()
    top = state.top.in_order()
    statistics = state.moments.statistics().numpy()
    for component in range(n_components):
        expected = sorted(range(n_sequences), key=lambda i: (-sequences[i][:, component].max().item(), i))[:N_TOP]
        assert top.sequence_index()[component, : len(expected)].tolist() == expected
        assert (top.sequence_index()[component, len(expected) :] == -1).all()
        for slot, number in enumerate(expected):
            values = sequences[number][:, component]
            start, length = int(top.start[component, slot]), int(top.length[component, slot])
            assert start <= int(values.argmax()) < start + length
            assert length == min(WIDTH, len(values))
            assert torch.equal(top.activations[component, slot, :length], values[start : start + length])
            assert (top.activations[component, slot, length:] == 0).all()
            assert top.peak[component, slot] == values.max()
        column = everything[:, component]
        deviation = column - column.mean()
        variance = (deviation**2).mean()
        assert statistics[component, 0] == pytest.approx(column.mean(), rel=1e-6, abs=1e-6 * variance**0.5)
        assert statistics[component, 1] == pytest.approx(variance, rel=1e-6)
        if variance > 0:
            assert statistics[component, 2] == pytest.approx((deviation**3).mean() / variance**1.5, rel=1e-5, abs=1e-5)
            assert statistics[component, 3] == pytest.approx((deviation**4).mean() / variance**2, rel=1e-5)
        counts, _ = np.histogram(column, bins=state.histogram.edges()[component].numpy())
        last_edge = (column == state.histogram.edges()[component, -1].item()).sum()
        assert last_edge == 0  # so numpy's closed last cell changes nothing
        assert counts.tolist() == state.histogram.counts[component].tolist()
        assert int(state.active[component]) == (column > 0).sum()


@property_settings(25)
@given(seed=st.integers(0, 2**32 - 1), n_sequences=st.integers(3, 40), cuts=borders, others=borders, ties=st.booleans())
def test_order_batching_and_grouping_do_not_matter(
    seed: int, n_sequences: int, cuts: list[int], others: list[int], ties: bool
) -> None:
    sequences = corpus(seed, n_sequences, 3, ties)
    shuffled = np.random.default_rng(seed).permutation(n_sequences).tolist()
    one_way = state_of(sequences, cut(list(range(n_sequences)), cuts))
    assert_same(one_way, state_of(sequences, cut(shuffled, others)))
    third = n_sequences // 3
    a, b, c = (
        state_of(sequences, [part])
        for part in (shuffled[:third], shuffled[third : 2 * third], shuffled[2 * third :])
        if part
    )
    assert_same(one_way, a.merge(b).merge(c))
    assert_same(one_way, a.merge(b.merge(c)))
    assert_same(one_way, empty_state(3).merge(c).merge(b.merge(a)))


def test_state_survives_its_tensors() -> None:
    sequences = corpus(1, 20, 3, ties=False)
    state = state_of(sequences, [list(range(20))])
    assert_same(state, LayerState.from_tensors(3, 7, state.tensors()))


def test_one_component_alone_gets_the_sample_it_has_among_others() -> None:
    sequences = corpus(5, 30, 4, ties=False)
    together = state_of(sequences, [list(range(30))]).sample.in_order().sequence_index()[2]
    alone = LayerState.empty(
        layer=3,
        component=torch.tensor([2]),
        seed=7,
        n_top=1,
        n_sample=N_SAMPLE,
        top_width=WIDTH,
        sample_width=WIDTH,
        n_bins=N_BINS,
    )
    activations, counted, lengths, numbers = batch_of(sequences, list(range(30)))
    alone.update(activations[:, :, 2:3], counted, lengths, numbers)
    assert torch.equal(alone.sample.in_order().sequence_index()[0], together)


def test_random_sample_is_uniform_and_independent_between_components() -> None:
    n_components, n_sequences, kept = 2000, 50, 5
    rank = rank_of_chance(11, 0, torch.arange(n_components), torch.arange(n_sequences))
    chosen = sequence_index_of_rank(rank.topk(kept, dim=1).values)
    frequency = torch.bincount(chosen.flatten(), minlength=n_sequences) / n_components
    # Each sequence is chosen with probability 1/10; the standard deviation of its frequency is 0.0067.
    assert (frequency - kept / n_sequences).abs().max() < 5 * 0.0067
    both = (chosen[:-1, :, None] == chosen[1:, None, :]).sum(dim=(1, 2)).double()
    assert both.mean().item() == pytest.approx(kept**2 / n_sequences, abs=0.08)  # the hypergeometric mean
    other_layer = rank_of_chance(11, 1, torch.arange(n_components), torch.arange(n_sequences))
    other_seed = rank_of_chance(12, 0, torch.arange(n_components), torch.arange(n_sequences))
    for other in (other_layer, other_seed):
        assert not torch.equal(sequence_index_of_rank(other.topk(kept, dim=1).values), chosen)


def test_ranks_order_as_scores_and_ties_by_position() -> None:
    scores = torch.tensor([[-2.0, 0.0, -0.0, 3.5, 3.5, -torch.inf, 1e-40, -1e-40]])
    rank = rank_of_score(scores, torch.arange(8))
    assert sequence_index_of_rank(rank.sort(descending=True).values)[0].tolist() == [3, 4, 6, 1, 2, 7, 0, 5]
    assert (rank > EMPTY_RANK).all()


@pytest.mark.parametrize(("scale", "centre"), [(1e-14, 0.0), (1.0, 1000.0), (1e14, 0.0), (1e-3, -50.0)])
def test_moments_keep_their_digits_at_any_scale(scale: float, centre: float) -> None:
    generator = torch.Generator().manual_seed(2)
    values = (torch.rand(64, 100, 3, generator=generator) ** 4 * scale + centre).to(torch.float32)
    state = Moments.empty(3, torch.device("cpu"))
    for part in values.split(8):
        near = state.mean if state.count.any() else part.mean(dim=(0, 1)).double()
        sums = PowerSums(near, part.amin(dim=(0, 1)), part.amax(dim=(0, 1)), torch.float32, 100 * len(part))
        sums.add(part, None, Scratch(part.device))
        state = state.merge(sums.moments())
    exact = values.double().flatten(0, 1)
    deviation = exact - exact.mean(dim=0)
    variance = (deviation**2).mean(dim=0)
    expected = torch.stack(
        [
            exact.mean(dim=0),
            variance,
            (deviation**3).mean(dim=0) / variance**1.5,
            (deviation**4).mean(dim=0) / variance**2,
        ],
        dim=1,
    )
    torch.testing.assert_close(state.statistics(), expected, rtol=1e-6, atol=0.0)


def test_constant_components_have_no_skewness() -> None:
    state = state_of([torch.zeros(4, 2)] * 3, [[0, 1, 2]])
    statistics = state.moments.statistics()
    assert torch.equal(statistics[:, :2], torch.zeros(2, 2, dtype=torch.float64))
    assert statistics[:, 2:].isnan().all()
    assert state.histogram.counts.sum(dim=1).tolist() == [12, 12]


def test_histogram_cells_follow_the_range() -> None:
    histogram = RunningHistogram.empty(1, 8, torch.device("cpu"))
    for value in (0.25, 0.3, 1.0, -3.0, 4.9):
        histogram.make_room(torch.tensor([value]), torch.tensor([value]))
        histogram.add(histogram.places_of().find(torch.tensor([[value]]), Scratch(torch.device("cpu"))))
    # From -3 to 4.9 with cells of 1 takes 8: [-3, -2) … [4, 5).
    assert histogram.edges()[0].tolist() == [-3, -2, -1, 0, 1, 2, 3, 4, 5]
    assert histogram.counts[0].tolist() == [1, 0, 0, 2, 1, 0, 0, 1]


def test_token_pairs_are_counted_as_the_lower_triangle() -> None:
    counted = EntryKind.TOKEN_PAIRS.counted(torch.tensor([2, 3]), 3, skip_first_token=False)
    assert counted.tolist() == [[True] * 3 + [False] * 3, [True] * 6]
    without_first = EntryKind.TOKEN_PAIRS.counted(torch.tensor([2, 3]), 3, skip_first_token=True)
    assert without_first.tolist() == [
        [False, False, True, False, False, False],
        [False, False, True, False, True, True],
    ]
    assert EntryKind.TOKENS.counted(torch.tensor([2]), 3, skip_first_token=True).tolist() == [[False, True, False]]


def test_infinite_activation_is_named() -> None:
    values = torch.zeros(2, 3, 4)
    values[1, 2, 3] = torch.inf
    counted = torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(NonFiniteActivationError, match=r"component 3 of layer 3 is inf at entry 2 of sequence 11"):
        empty_state(4).update(values, counted, torch.tensor([3, 3]), torch.tensor([10, 11]))


def test_long_rows_are_summed_in_blocks() -> None:
    values = torch.randn(3, 700, 2, generator=torch.Generator().manual_seed(0))
    counted = torch.ones(3, 700, dtype=torch.bool)
    counted[0, 300:] = False
    state = empty_state(2)
    state.update(values, counted, torch.tensor([300, 700, 700]), torch.arange(3))
    kept = values[counted].double()
    assert state.moments.count.tolist() == [1700.0, 1700.0]
    torch.testing.assert_close(state.moments.statistics()[:, 0], kept.mean(dim=0), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(state.moments.statistics()[:, 1], kept.var(dim=0, correction=0), rtol=1e-6, atol=0.0)
