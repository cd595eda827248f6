"""Search in the stored examples of a packed dataset."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.activations.packed.dataset import PackedDataset
from neuron_explainer.components.search.example_index import (
    BETWEEN_TEXTS,
    GROUPS,
    ExampleIndex,
    first_counted,
    pair_rows,
)
from neuron_explainer.components.search.habits import dataset_moments, packed_dataset_of
from neuron_explainer.components.search.index_files import open_index
from neuron_explainer.components.search.results import Found, found_table
from neuron_explainer.errors import IndexOutOfRangeError, InvalidRequestError, number_ranges, shown
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.wording import counted, nearest_first

if TYPE_CHECKING:
    import pandas

_FIRST_BLOCK = 1 << 15
_TOKENS_BEFORE, _TOKENS_AFTER = 10, 6


def search_stored(
    name: str,
    dst: DerivedScalarType,
    text: str,
    token: str | int | None,
    selective: bool,
    n: int,
    layers: list[int] | None,
    progress: bool | None,
) -> pandas.DataFrame:
    """The n components with the highest scores where the text occurs in stored examples. See `search`."""
    dataset = packed_dataset_of(name, dst)
    if layers is not None and not set(layers) <= set(dataset.info.layer_indices):
        raise InvalidRequestError(
            f"layers is {layers}. The dataset {name} has the layers {number_ranges(dataset.info.layer_indices)}."
        )
    index = open_index(dataset, progress)
    hits = tokens_found(index, text, token, first_counted(dataset.info))
    query = _Query(dataset, index, hits, dst, name, selective, layers)
    return query.table(n)


def tokens_found(index: ExampleIndex, text: str, token: str | int | None, first: int = 0) -> NDArray[np.int64]:
    """The tokens, numbered through all texts, at which a text occurs.

    Each end of an occurrence is the edge of a token, or of a word.

    Args:
        index: the texts.
        text: the text.
        token: which of an occurrence's tokens: a position within it, a token's text, or all.
        first: the first token of a sequence that counts.

    Raises:
        InvalidRequestError: the text occurs, but none of its tokens is the one asked for.
    """
    content, wanted = memoryview(cast("Any", index.text)), text.encode("utf-8", "surrogatepass")
    begins = np.array([found.start() for found in _occurrences(wanted, content)], np.int64)
    if not len(begins):
        return begins
    ends = begins + len(wanted)
    first_tokens = np.searchsorted(index.token_start, begins, side="right") - 1
    # An empty token begins where the next one does: the last that begins there has the text.
    last_tokens = np.searchsorted(index.token_start, ends, side="left") - 1
    is_edge = _is_edge(index, begins, text[0]) & _is_edge(index, ends, text[-1])
    first_tokens, last_tokens = first_tokens[is_edge], last_tokens[is_edge]
    sizes = last_tokens - first_tokens + 1
    if token is None or isinstance(token, str):
        all_tokens = np.repeat(first_tokens - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())
        found = np.unique(all_tokens)
        if token is not None:
            texts = [_text_of(index, place, place + 1) for place in found.tolist()]
            if texts and token not in texts:
                nearest = nearest_first(token, dict.fromkeys(texts))[:5]
                raise InvalidRequestError(
                    f"{shown(token)} is not a token of the text. Choose one of: {', '.join(map(shown, nearest))}."
                )
            found = found[[text == token for text in texts]]
    else:
        fits = (sizes > token) if token >= 0 else (sizes >= -token)
        if len(sizes) and not fits.any():
            raise IndexOutOfRangeError(
                f"The text has no token {token}: where it occurs, it has at most {counted(int(sizes.max()), 'token')}."
            )
        found = np.unique((first_tokens + token if token >= 0 else last_tokens + 1 + token)[fits])
    sequence = np.searchsorted(index.first_token, found, side="right") - 1
    return found[found - index.first_token[sequence] >= first]


def _occurrences(wanted: bytes, content: Any) -> Iterator[re.Match[bytes]]:
    """Where some bytes occur, overlapping occurrences included."""
    # To look for the bytes themselves is several times as quick as to look ahead for them at each place.
    may_overlap = any(wanted.startswith(wanted[shift:]) for shift in range(1, len(wanted)))
    pattern = b"(?=" + re.escape(wanted) + b")" if may_overlap else re.escape(wanted)
    return re.finditer(pattern, content)


def _highest(
    places: NDArray[np.int64], bound: NDArray[np.float64], n: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The n places with the highest bounds, in any order, and the others."""
    if len(places) <= n:
        return places, places[:0]
    order = np.argpartition(-bound[places], n)
    return places[order[:n]], places[order[n:]]


def _is_edge(index: ExampleIndex, places: NDArray[np.int64], inner: str) -> NDArray[np.bool_]:
    """Whether a token begins or ends at a byte, or a word does: one side of it is not of a word."""
    at = np.searchsorted(index.token_start, places)
    found = index.token_start[np.minimum(at, len(index.token_start) - 1)] == places
    if not (inner.isalnum() or inner == "_"):
        return np.ones(len(places), np.bool_)
    of_word = np.array([chr(byte).isalnum() or byte == ord("_") or byte >= 0x80 for byte in range(256)])
    of_word[BETWEEN_TEXTS] = False
    return found | ~_is_in_word(index, places, of_word)


def _is_in_word(index: ExampleIndex, places: NDArray[np.int64], of_word: NDArray[np.bool_]) -> NDArray[np.bool_]:
    padded_end = len(index.text) - 1
    before = np.where(places > 0, of_word[index.text[np.maximum(places - 1, 0)]], False)
    after = np.where(places <= padded_end, of_word[index.text[np.minimum(places, padded_end)]], False)
    return before & after


def _text_of(index: ExampleIndex, first: int, stop: int) -> str:
    """The text of some tokens; parts of characters at its ends, and halves of surrogate pairs, are escapes."""
    content = index.text[int(index.token_start[first]) : int(index.token_start[stop])].tobytes()
    return content.rstrip(bytes([BETWEEN_TEXTS])).decode("utf-8", "backslashreplace")


@dataclass
class _Values:
    """Activations at hits: the window's place in the index, the hit's token, the activation."""

    window: NDArray[np.int64]
    token: NDArray[np.int64]
    value: NDArray[np.float64]


class _Query:
    """One search."""

    def __init__(
        self,
        dataset: PackedDataset,
        index: ExampleIndex,
        hits: NDArray[np.int64],
        dst: DerivedScalarType,
        name: str,
        selective: bool,
        layers: list[int] | None,
    ) -> None:
        self.dataset, self.index, self.hits, self.dst = dataset, index, hits, dst
        self.layers = dataset.info.layer_indices if layers is None else layers
        self.n_components = dataset.info.n_components
        self.selective, self.name = selective, name
        self.habit: str | None = None
        size = len(self.layers) * self.n_components
        self.mean, self.spread = np.zeros(size), np.ones(size)
        if selective:
            moments, self.habit = dataset_moments(name, dst, list(self.layers))
            of_layers = [moments.of(layer, self.n_components) for layer in self.layers]
            self.mean = np.concatenate([mean for mean, _ in of_layers])
            variance = np.concatenate([variance for _, variance in of_layers])
            self.spread = np.sqrt(np.where(variance > 0, variance, np.nan))
        self.number_of_layer = np.full(max(dataset.info.layer_indices) + 1, -1, np.int64)
        self.number_of_layer[list(self.layers)] = np.arange(len(self.layers))
        self.per_component = self._windows_per_component()

    def _windows_per_component(self) -> NDArray[np.int64]:
        """How many windows of each kind a component has, by layer and kind."""
        result = np.ones((len(self.layers), len(GROUPS)), np.int64)
        for number, layer in enumerate(self.layers):
            arrays = self.dataset.layer_reader(layer).arrays
            for group, kind in enumerate(GROUPS):
                if f"{kind}_sequence" in arrays:
                    result[number, group] = max(1, int(np.prod(arrays[f"{kind}_sequence"].shape[1:])))
        return result

    def table(self, n: int) -> pandas.DataFrame:
        """The best, with the place of each one's highest activation."""
        windows = self._windows()
        components = self._components(windows)
        best = self._best(windows, components, n)
        known = np.flatnonzero(np.isfinite(best))
        order = known[np.lexsort((known, -best[known]))[:n]]
        is_wanted = np.zeros(len(best), np.bool_)
        is_wanted[order] = True
        values = self._values(windows[is_wanted[components]])
        owner = self._components(values.window)
        found, rows = [], {}
        for component in order.tolist():
            of_component = np.flatnonzero(owner == component)
            tokens, numbers = values.token[of_component], values.value[of_component]
            top = np.lexsort((tokens, -numbers))[0]
            rows[component] = (int(tokens[top]), len(np.unique(tokens)))
            layer, place = self.layers[component // self.n_components], np.array([component])
            found.append(Found(layer, place % self.n_components, numbers[[top]], best[[component]], place, 0))
        table = found_table(
            found,
            n,
            self.dst,
            lambda place: self._described(*rows[place]),
            ("token", "position", "example", "n_hits"),
            kind="selective" if self.selective else "most",
            source=f"the stored examples of the dataset {self.name}",
            habit=self.habit,
            n_places=len(self.hits),
        )
        table.attrs["n_components"] = len(self.layers) * self.n_components
        return table

    def _described(self, token: int, n_hits: int) -> dict[str, Any]:
        sequence = int(np.searchsorted(self.index.first_token, token, side="right")) - 1
        begin, end = (int(self.index.first_token[sequence + each]) for each in (0, 1))
        first, stop = max(begin, token - _TOKENS_BEFORE), min(end, token + _TOKENS_AFTER + 1)
        return {
            "token": _text_of(self.index, token, token + 1),
            "position": token - begin,
            "example": _text_of(self.index, first, stop),
            "n_hits": n_hits,
        }

    def _windows(self) -> NDArray[np.int64]:
        """The windows of sequences with hits, the largest first."""
        has_hit = np.zeros(len(self.index.first_token), np.bool_)
        has_hit[np.searchsorted(self.index.first_token, self.hits, side="right") - 1] = True
        windows = np.flatnonzero(has_hit[self.index.sequence])
        return windows[self.number_of_layer[self.index.layer[windows]] >= 0]

    def _components(self, windows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The component of each window, numbered through the layers."""
        layer = self.number_of_layer[self.index.layer[windows]]
        each = self.per_component[layer, self.index.group[windows]]
        return np.asarray(layer * self.n_components + self.index.row[windows] // each)

    def _best(self, windows: NDArray[np.int64], components: NDArray[np.int64], n: int) -> NDArray[np.float64]:
        """Each component's score, of those that can be among the best: windows with low peaks are not opened."""
        best = np.full(len(self.mean), -np.inf)
        bound = (self.index.peak[windows].astype(np.float64) - self.mean[components]) / self.spread[components]
        left, size = np.flatnonzero(np.isfinite(bound)), _FIRST_BLOCK  # a component without a spread has no score
        while len(left):
            part, left = _highest(left, bound, size)
            values = self._values(windows[part])
            owner = self._components(values.window)
            scores = (values.value - self.mean[owner]) / self.spread[owner]
            known = np.isfinite(scores)
            np.maximum.at(best, owner[known], scores[known])
            if len(left) and len(best) >= n:
                left = left[bound[left] >= np.partition(best, len(best) - n)[len(best) - n]]
            size *= 2
        return best

    def _values(self, windows: NDArray[np.int64]) -> _Values:
        """The activations of windows at the hits that lie in them."""
        index, info = self.index, self.dataset.info
        first = index.first_token[index.sequence[windows]] + index.start[windows]
        low = np.searchsorted(self.hits, first)
        counts = np.searchsorted(self.hits, first + index.length[windows]) - low
        which = np.repeat(np.arange(len(windows)), counts)
        token = self.hits[np.repeat(low - (np.cumsum(counts) - counts), counts) + np.arange(len(which))]
        place, window = token - first[which], windows[which]
        value = np.empty(len(window))
        key = self.number_of_layer[index.layer[window]] * len(GROUPS) + index.group[window]
        order = np.argsort(key.astype(np.int16), kind="stable")
        edges = np.searchsorted(key[order], np.arange(len(self.layers) * len(GROUPS) + 1))
        for each, (begin, end) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
            if begin == end:
                continue
            layer, group = self.layers[each // len(GROUPS)], GROUPS[each % len(GROUPS)]
            activations = self.dataset.layer_reader(layer).arrays[f"{group}_activations"]
            flat, at = activations.reshape(-1, activations.shape[-1]), order[begin:end]
            if info.is_by_token_pair:
                value[at] = self._largest_of_pairs(flat, index.row[window[at]], place[at], index.start[window[at]])
            else:
                value[at] = flat[index.row[window[at]], place[at]]
        finite = np.isfinite(value)
        return _Values(window[finite], token[finite], value[finite])

    def _largest_of_pairs(
        self,
        activations: NDArray[Any],
        rows: NDArray[np.int32],
        place: NDArray[np.int64],
        start: NDArray[np.int32],
    ) -> NDArray[np.float64]:
        """The largest activation of each token that attends, over what it attends to."""
        firsts, sizes = pair_rows(self.dataset.info)
        skipped = np.where(start == 0, first_counted(self.dataset.info), 0)
        begins, counts = firsts[place] + skipped, sizes[place] - skipped
        offsets = np.cumsum(counts) - counts
        entries = np.repeat(begins - offsets, counts) + np.arange(counts.sum())
        values = activations[np.repeat(rows, counts), entries].astype(np.float64)
        result = np.full(len(rows), -np.inf)
        some = np.flatnonzero(counts)
        if len(some):
            result[some] = np.maximum.reduceat(values, offsets[some])
        return result
