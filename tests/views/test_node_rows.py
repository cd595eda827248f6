"""Tables of nodes as JSON rows for a frontend module, and row by row as static HTML."""

import json
import math
import time

import numpy as np
import pandas as pd
import pytest

import neuron_explainer as ne
from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.html_reading import Element, assert_harmless
from neuron_explainer.attribution import Attribution, attribute
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.views.attribution.node_tables import node_rows_html
from neuron_explainer.views.attribution.table_rows import rows_of
from neuron_explainer.views.colour import ColourScale
from neuron_explainer.views.token_text import token_label

EFFECTS = ("direct_effect", "total_effect")


@pytest.fixture(scope="module")
def why() -> Attribution:
    return attribute(ne.load_model("tiny"), "And the LORD said unto", " Moses", " her")


def _kinds(table: dict) -> dict[str, str]:
    return {column["name"]: column["kind"] for column in table["columns"]}


def test_rows_hold_what_the_table_holds(why: Attribution) -> None:
    frame = why.nodes(200)
    table = json.loads(json.dumps(rows_of(frame), allow_nan=False))
    names = [column["name"] for column in table["columns"]]
    assert names == list(frame.columns)
    assert [column["label"] for column in table["columns"]] == [name.replace("_", " ") for name in names]
    assert len(table["rows"]) == 200
    for row, (_, given) in zip(table["rows"], frame.iterrows(), strict=True):
        for name, value in zip(names, row, strict=True):
            if name == "name":
                assert value == given["name"]
            elif name in ("token", "attended_to"):
                assert value == (token_label(given[name]) if isinstance(given[name], str) else None)
            elif value is None:
                assert math.isnan(given[name])
            else:
                assert value == pytest.approx(given[name], rel=5e-6)
                assert len(f"{value:e}".split("e")[0].rstrip("0").replace(".", "").lstrip("-")) <= 6


def test_the_formula_gives_the_colours_of_the_pages(why: Attribution) -> None:
    frame = why.nodes(100)
    table = rows_of(frame)
    scale = ColourScale.of(number for name in EFFECTS for number in frame[name])
    palette, half = table["palette"], (len(table["palette"]) - 1) // 2
    assert palette[half] == "#ffffff"
    assert set(table["limit"]) == set(EFFECTS)
    for place, column in enumerate(table["columns"]):
        limit = table["limit"].get(column["name"])
        if limit is not None:
            assert column["kind"] == "effect"
            assert limit == pytest.approx(scale.limit, rel=1e-5)
            for row, value in zip(table["rows"], frame[column["name"]], strict=True):
                assert palette[round((row[place] / limit) * half) + half] == scale.background(value)


def test_each_table_says_what_its_columns_are(why: Attribution) -> None:
    assert _kinds(rows_of(why.nodes(20))) == {
        "name": "name",
        "token": "token",
        "attended_to": "token",
        "activation": "number",
        "write_norm": "number",
        "direct_effect": "effect",
        "total_effect": "effect",
    }
    verified = _kinds(rows_of(why.verify(3)))
    assert verified == {
        "name": "name",
        "estimate": "effect",
        "measured": "effect",
        "estimate_rank": "number",
        "measured_rank": "number",
    }
    both = _kinds(rows_of(why.compare("And the king said unto").nodes(5)))
    assert {both[name] for name in ("token_1", "attended_to_2")} == {"token"}
    assert {both[name] for name in ("direct_effect_1", "total_effect_2", "difference")} == {"effect"}
    assert both["write_norm_1"] == "number"
    assert _kinds(rows_of(why.heads(4)))["layer"] == "number"


def test_what_json_does_not_have_is_none_or_the_largest_number() -> None:
    frame = pd.DataFrame(
        {
            "name": ["L0N1@0", "L0N2@0", "L0N3@0"],
            "layer": pd.array([1, None, 3], dtype="Int64"),
            "activation": [math.nan, math.inf, -math.inf],
            "total_effect": [0.0, math.nan, np.float64(-0.25)],
            "write_norm": [math.nan] * 3,
        }
    )
    table = json.loads(json.dumps(rows_of(frame), allow_nan=False))
    assert [row[1] for row in table["rows"]] == [1, None, 3]
    (nothing, high, low) = [row[2] for row in table["rows"]]
    assert nothing is None
    assert high == -low > 1e308
    assert [row[3] for row in table["rows"]] == [0.0, None, -0.25]
    assert "write_norm" not in _kinds(table)
    nil = rows_of(pd.DataFrame({"name": ["L0N1@0"], "total_effect": [0.0]}))
    assert nil["limit"]["total_effect"] > 0
    empty = rows_of(frame.head(0))
    assert empty["rows"] == []
    assert [column["name"] for column in empty["columns"]] == list(frame.columns)


def test_hostile_tokens_and_names_are_text() -> None:
    frame = pd.DataFrame({"name": HOSTILE_TOKENS, "token": HOSTILE_TOKENS, "total_effect": 1.0})
    table = rows_of(frame)
    assert [row[1] for row in table["rows"]] == [token_label(token) for token in HOSTILE_TOKENS]
    text = json.dumps(table, ensure_ascii=False)
    for steering in ("\u202e", "\u2066", "\x1b", "\x00"):
        assert steering not in text
    assert "<script>window.pwned=1</script>" in text
    assert_harmless(node_rows_html(frame, 0, len(frame)))


def test_ten_thousand_rows_are_quick(why: Attribution) -> None:
    frame = pd.concat([why.nodes(500)] * 20)
    rows_of(frame)  # tokens are read once
    start = time.perf_counter()
    table = rows_of(frame)
    assert time.perf_counter() - start < 0.6  # 0.06 s on a quiet machine
    assert len(table["rows"]) == 10_000


# Static rows


def _rows(html: str) -> list[list[Element]]:
    (table,) = assert_harmless(html).find("table")
    return [row.find("td") for row in table.find("tr")[1:]]


def test_pages_of_rows_are_the_table(why: Attribution) -> None:
    frame = why.nodes(112)
    names = []
    for first in (0, 50, 100):
        html = node_rows_html(frame, first, 50)
        assert f"rows {first + 1} to {min(first + 50, 112)} of 112" in assert_harmless(html).text
        names += [row[0].text for row in _rows(html)]
    assert names == list(frame["name"])
    marks = [row[0].find("span")[0].attributes["data-ne-node"] for row in _rows(node_rows_html(frame, 0, 5))]
    assert marks == list(frame["name"][:5])
    assert [row[0].text for row in _rows(node_rows_html(frame, 5000, 50))] == list(frame["name"][-50:])
    assert "of 10,080" in node_rows_html(pd.concat([frame] * 90), 0, 2)


def test_a_page_has_the_columns_and_colours_of_the_whole_table(why: Attribution) -> None:
    frame = why.nodes(300)
    whole, part = _rows(node_rows_html(frame, 0, 300)), _rows(node_rows_html(frame, 120, 7))
    for one, other in zip(whole[120:127], part, strict=True):
        assert [(cell.text, [each.attributes for each in cell.find("span")]) for cell in one] == [
            (cell.text, [each.attributes for each in cell.find("span")]) for cell in other
        ]
    neurons = frame[frame["attended_to"].isna()]
    start = list(frame["name"]).index(neurons["name"].iloc[0])
    assert len(_rows(node_rows_html(frame, start, 1))[0]) == len(frame.columns)  # also where all are empty


def test_a_table_without_rows_says_so_and_numbers_are_checked(why: Attribution) -> None:
    frame = why.nodes(5)
    assert "no nodes" in assert_harmless(node_rows_html(frame.head(0))).text
    with pytest.raises(InvalidRequestError, match="first"):
        node_rows_html(frame, -1, 5)
    with pytest.raises(InvalidRequestError, match="n "):
        node_rows_html(frame, 0, 0)
