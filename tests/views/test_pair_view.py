"""The view of token pairs: text, strongest pairs and matrix."""

import tracemalloc

import numpy as np
import pytest

from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.html_reading import assert_harmless
from helpers.neuron_records import example as made_example
from helpers.neuron_records import neuron_record as made_record
from neuron_explainer.activations.activations import ActivationRecord
from neuron_explainer.activations.attention_utils import n_pairs
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.plots import plot_example
from neuron_explainer.views.token_pairs import TokenPair, pair_view, strongest_pairs
from neuron_explainer.views.token_text import token_label

# Rows: " Mary" attends to itself 0.5; " gave" to Mary 3, itself 1; " her" to Mary 2, gave −4, itself 0.25
TOKENS = [" Mary", " gave", " her"]
SQUARE = ActivationRecord(TOKENS, [0.5, 3.0, 1.0, 2.0, -4.0, 0.25])
# The same with at most two attended to: " her" no longer reaches Mary
WINDOWED = ActivationRecord(TOKENS, [0.5, 3.0, 1.0, -4.0, 0.25])


def test_the_strongest_pairs() -> None:
    matrix = np.array([[0.5, np.nan], [3.0, -1.0]])
    assert strongest_pairs(matrix, 2) == [TokenPair(1, 0, 3.0), TokenPair(0, 0, 0.5)]
    assert strongest_pairs(matrix, 9) == [TokenPair(1, 0, 3.0), TokenPair(0, 0, 0.5), TokenPair(1, 1, -1.0)]
    assert strongest_pairs(np.zeros((0, 0)), 3) == []


def test_tooltips_show_the_strongest_attention_in_both_directions() -> None:
    tokens = assert_harmless(pair_view(SQUARE)).find("div", "ne-text")[0].find("bdi")
    assert [token.attributes["title"] for token in tokens] == [
        "·Mary · position 0 · attends most to ·Mary (0): 0.5 · attended to most by ·gave (1): 3",
        "·gave · position 1 · attends most to ·Mary (0): 3 · attended to most by ·gave (1): 1",
        "·her · position 2 · attends most to ·Mary (0): 2 · attended to most by ·her (2): 0.25",
    ]
    scale = ColourScale.of(SQUARE.activations)
    assert tokens[1].style["border-top"] == f"4px solid {scale.background(3.0)}"
    assert tokens[1].style["border-bottom"] == f"4px solid {scale.background(1.0)}"
    assert [bool(token.find("b")) for token in tokens] == [True, True, False]  # the strongest pair's


def test_of_fewer_attended_tokens_those_are_the_first() -> None:
    root = assert_harmless(pair_view(WINDOWED))
    tokens = root.find("div", "ne-text")[0].find("bdi")
    assert (
        tokens[2]
        .attributes["title"]
        .endswith("attends most to ·gave (1): 0.25 · attention to it is not part of the record")
    )
    rows = [[cell.attributes.get("title") for cell in row.find("td")] for row in root.find("tr")]
    assert rows == [
        ["·Mary (0) to ·Mary (0): 0.5", None],
        ["·gave (1) to ·Mary (0): 3", "·gave (1) to ·gave (1): 1", None],
        ["·her (2) to ·Mary (0): −4", "·her (2) to ·gave (1): 0.25", None, None],  # none with itself
    ]


def test_the_matrix_has_a_cell_for_each_pair_and_names_at_its_diagonal() -> None:
    root = assert_harmless(pair_view(SQUARE))
    scale = ColourScale.of(SQUARE.activations)
    coloured = [cell for cell in root.find("td") if "bgcolor" in cell.attributes]
    assert [cell.attributes["bgcolor"] for cell in coloured] == [
        scale.background(value) for value in SQUARE.activations
    ]
    assert [label.text for label in root.find("td", "ne-label")] == ["·Mary", "·gave", "·her"]
    # every row is equally wide: its cells, and a name that spans the rest
    widths = [sum(int(cell.attributes.get("colspan", "1")) for cell in row.find("td")) for row in root.find("tr")]
    assert widths == [4, 4, 4]


def test_the_strongest_pairs_are_listed() -> None:
    written = assert_harmless(pair_view(SQUARE, n_pairs=2)).find("span", "ne-pair")
    assert [pair.text.replace("\xa0", " ") for pair in written] == [
        "3 ·gave 1 attends to ·Mary 0",
        "2 ·her 2 attends to ·Mary 0",
    ]


@pytest.mark.parametrize("window", [None, 7])
def test_long_texts_are_shown_around_the_strongest_pair(window: int | None) -> None:
    n_tokens = 90
    activations = [0.0] * n_pairs(n_tokens, window)
    activations[n_pairs(70, window) + 6] = 1.0
    root = assert_harmless(pair_view(ActivationRecord(["t"] * n_tokens, activations), width=20, matrix_width=12))
    text = root.find("div", "ne-text")[0]
    assert len(text.find("bdi")) == 20
    assert any(
        "(70)" in token.attributes["title"] or "position 70 " in token.attributes["title"] for token in text.find("bdi")
    )
    assert len(root.find("tr")) == 12
    assert "70 attends to t\xa06" in root.find("span", "ne-pair")[0].text


def test_a_long_text_with_few_attended_tokens_takes_little_memory() -> None:
    n_tokens = 20_000
    example = ActivationRecord(["t"] * n_tokens, [float(index % 7) for index in range(n_pairs(n_tokens, 2))])
    tracemalloc.start()
    try:
        assert "attends to" in pair_view(example)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_hostile_tokens_are_text() -> None:
    example = made_example(len(HOSTILE_TOKENS), by_pair=True)
    root = assert_harmless(
        pair_view(ActivationRecord(HOSTILE_TOKENS, example.activations), matrix_width=None, width=None)
    )
    assert [token.text for token in root.find("div", "ne-text")[0].find("bdi")] == list(
        map(token_label, HOSTILE_TOKENS)
    )
    assert [label.text for label in root.find("td", "ne-label")] == list(map(token_label, HOSTILE_TOKENS))


def test_invalid_arguments_are_refused() -> None:
    record = made_record(by_pair=True)
    for view in (pair_view, plot_example):
        with pytest.raises(InvalidRequestError, match=r"such as record\.most_positive_activation_records\[0\]"):
            view(record)  # type: ignore[arg-type]
        with pytest.raises(InvalidRequestError, match="example must be of type ActivationRecord, not str"):
            view("tiny")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="title must be of type str, not int"):
        pair_view(ActivationRecord(["a"], [2.0]), title=5)  # type: ignore[arg-type]


def test_texts_of_one_token_and_of_none() -> None:
    assert "a (0) to a (0): 2" in pair_view(ActivationRecord(["a"], [2.0]))
    assert_harmless(pair_view(ActivationRecord([], [])))
