"""Explanations and their scores as pages."""

import math
from html import escape as html_escape

import numpy as np
import pandas
import pytest

import neuron_explainer as ne
from helpers.explaining import FrequentTokenExplainer, LengthScorer, SimulatedScorer
from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.html_reading import assert_harmless, read_html
from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.explanations import (
    EmbeddingScorer,
    Explanation,
    Explanations,
    ExplanationScore,
    PatternExplainer,
    PatternScorer,
    TokenExplainer,
)
from neuron_explainer.explanations.scoring.baselines import OneToken
from neuron_explainer.views.explanations.explained import explained_html

HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m\u202e"
SHOWN = "<img src=x onerror=alert(1)>\\x1b[31m\\u202e"


@pytest.fixture(scope="module")
def node() -> ne.Component:
    return ne.component("tiny", "L1N355")


def headings(html: str) -> list[str]:
    return [each.text for each in read_html(html).find("b") if each.attributes.get("role") == "heading"]


def test_explanations_with_their_tables(node):
    written = ne.explain(node, FrequentTokenExplainer(), n=2)
    html = written._repr_html_()
    page = assert_harmless(html).text
    assert headings(html) == ["What L1N355 does", "Patterns"]
    assert all(each.text in page for each in written)
    assert "frequent" in page


def test_explanations_from_outside_stay_texts():
    table = pandas.DataFrame({HOSTILE: [HOSTILE], "token": [HOSTILE_TOKENS[0]], "n": [1], "tokens": [["a", HOSTILE]]})
    explanation = Explanation(HOSTILE, HOSTILE, OneToken("a"), details={HOSTILE: table, "patterns": table, "n": 5})
    page = assert_harmless(Explanations([explanation], "L1N355")._repr_html_()).text
    assert page.count(SHOWN) >= 4
    many = Explanations([Explanation(f"{number} " + "x" * 9_000) for number in range(60)], "L1N355")
    html = many._repr_html_()
    assert len(html) < 200_000
    assert "and 10 more" in assert_harmless(html).text
    assert "No explanation was found" in Explanations([], "L1N355")._repr_html_()


def test_a_score_of_a_simulation_shows_real_beside_simulated(node):
    explanation = ne.explain(node, FrequentTokenExplainer())[0]
    score = ne.score(explanation, node, SimulatedScorer(), others=[Explanation("b", "", OneToken(" b"))])
    html = score._repr_html_()
    page = assert_harmless(html).text
    assert headings(html) == ["correlation", "Beside others", "Simulated and real activations"]
    assert f"{score.value:.2f}" in page
    assert "(0.10 to 0.90)" in page
    assert "another explanation" in page
    heatmaps = [each.text for each in read_html(html).find("div", "ne-text")]
    assert len(heatmaps) == 6
    assert heatmaps[0] == heatmaps[1]  # the same text, simulated and real


def bars_of(html: str) -> list[list[dict[str, str]]]:
    """The boxes of each row's bar."""
    tracks = [each for each in read_html(html).find("span") if each.style.get("position") == "relative"]
    return [[box.style for box in track.find("span")] for track in tracks]


def score_of(value: float, interval=(math.nan, math.nan), baselines=None, chance=0.5) -> ExplanationScore:
    return ExplanationScore("names", "L1N355", "detection", "AUROC", value, interval, chance, baselines or {})


def test_bars_are_as_long_as_values():
    main, baseline, chance = bars_of(score_of(0.75, (0.5, 1.0), {"a token": 0.25})._repr_html_())
    bar, zero, line, *ends = main
    assert (bar["left"], bar["width"]) == ("0px", "165px")  # three quarters of 220
    assert (line["left"], line["width"]) == ("110px", "110px")
    assert [each["left"] for each in ends] == ["110px", "220px"]
    assert zero["left"] == "0px"
    assert baseline[0]["width"] == "55px"
    assert chance[0]["width"] == "110px"
    assert bar["background-color"] != baseline[0]["background-color"]


def test_values_below_zero_and_unknown_ones():
    html = score_of(-0.5, (-0.75, 0.0), {"a token": math.nan}, chance=0.0)._repr_html_()
    page = assert_harmless(html).text
    assert "−0.50 (−0.75 to 0.00)" in page
    assert "−1 to 1" in page
    assert "not defined" in page
    main, baseline, _ = bars_of(html)
    assert (main[0]["left"], main[0]["width"]) == ("55px", "55px")
    assert len(baseline) == 1  # zero alone
    wide = assert_harmless(score_of(-12.0, (math.nan, math.inf), {"x": 3.0})._repr_html_()).text
    assert "−12 to 3" in wide
    assert "not defined" in assert_harmless(score_of(math.nan, chance=math.nan)._repr_html_()).text


def test_judged_texts_best_and_worst(node):
    score = ne.score("names", node, LengthScorer())
    most = read_html(score._repr_html_()).find("table")[-1]
    assert [row.find("td")[0].text for row in most.find("tr")[1:]] == ["text 0", "text 2", "text 1", "text 3"]
    rows = [(f"t{number} {HOSTILE}" + "y" * 500, number / 20, number % 2 == 0) for number in range(20)]
    frame = pandas.DataFrame(rows, columns=["text", "similarity", "right"], index=[0] * 20)
    html = ExplanationScore("x", "L1N355", "embedding", "AUROC", 0.5, judgements=frame)._repr_html_()
    assert len(html) < 40_000
    most, least = assert_harmless(html).find("table")[-2:]
    assert [row.find("td")[0].text[:3].strip() for row in most.find("tr")[1:]] == ["t19", "t18", "t17", "t16"]
    assert [row.find("td")[0].text[:3].strip() for row in least.find("tr")[1:]] == ["t3", "t2", "t1", "t0"]
    assert [row.find("td")[2].text for row in least.find("tr")[1:]] == ["no", "yes", "no", "yes"]


def test_judgements_without_numbers_or_answers():
    for frame in (
        pandas.DataFrame({"text": ["a"], "judgement": pandas.array([None], dtype="boolean")}),
        pandas.DataFrame({"words": ["a"]}),
        pandas.DataFrame({"text": ["a", "b"], "judgement": pandas.array([True, None], dtype="boolean")}),
    ):
        html = ExplanationScore("x", "L1N355", "detection", "AUROC", 0.5, judgements=frame)._repr_html_()
        assert_harmless(html)


def test_scores_from_outside_stay_texts():
    n = len(HOSTILE_TOKENS)
    frame = pandas.DataFrame(
        {
            "text": 0,
            "position": range(n),
            "token": HOSTILE_TOKENS,
            "simulated": np.linspace(0, 1, n),
            "real": np.linspace(2, 0, n),
        }
    )
    score = ExplanationScore(
        HOSTILE, HOSTILE, HOSTILE, HOSTILE, 0.5, (0.1, 0.9), 0.0, {HOSTILE: 0.2}, {HOSTILE: math.nan}, frame, HOSTILE
    )
    page = assert_harmless(score._repr_html_()).text
    assert page.count(SHOWN) >= 7


def test_a_page_says_what_its_numbers_are(node):
    written = ne.explain(node, TokenExplainer(), n=2)._repr_html_() + ne.explain(node)._repr_html_()
    page = assert_harmless(written).text
    for said in ("predicts activations", "Tokens before", "lift: how far", "support: how many", "[any] is any token"):
        assert said in page
    own = ne.score("names", node, EmbeddingScorer(device="cpu"), baselines=False)
    judged = assert_harmless(own._repr_html_()).text
    for said in ("0.5: by chance", "value (95 % interval)", "positive: it is active on the text", "L1N355 · embedding"):
        assert said in judged
    assert "similarity: the cosine" in judged
    columns = ["text", "kind", "log_likelihood", "without", "gain"]
    gains = pandas.DataFrame([("a", "random", -1.0, -2.0, 0.5)], columns=columns)
    html = ExplanationScore("x", "L1N355", "surprisal", "AUROC", 0.5, judgements=gains)._repr_html_()
    heads = [each.text for each in read_html(html).find("table")[-1].find("th")]
    assert heads == ["text", "kind", "gain", "log likelihood", "without"]  # what judges comes first
    simulated = ne.score(ne.explain(node)[0], node)._repr_html_()
    assert "3 of 10 texts that it was not written from" in assert_harmless(simulated).text
    assert "0: it predicts nothing" in read_html(simulated).text


def test_words_without_spaces_break_in_every_table(node):
    long = "x" * 2_000
    table = pandas.DataFrame({"pattern": [long]})
    for html in (
        Explanations([Explanation(long, details={"patterns": table})], "L1N355")._repr_html_(),
        ExplanationScore(long, "L1N355", "embedding", "AUROC", 0.5, baselines={long: 0.1}, note=long)._repr_html_(),
    ):
        places = [each for each in read_html(html).find("div") if each.text.startswith("x" * 200)]
        held = [each for each in places if each.style.get("overflow-wrap") == "anywhere"]
        assert len(held) >= 2


def test_tokens_without_a_prediction_are_grey(node):
    frame = pandas.DataFrame(
        {"text": 0, "position": range(3), "token": ["a", "b", "c"], "simulated": [1.0, math.nan, 0.0], "real": 1.0}
    )
    html = ExplanationScore("x", "L1N355", "s", "correlation", 0.5, judgements=frame)._repr_html_()
    assert "grey: no prediction" in read_html(html).text
    assert any("not a number" in each.attributes.get("title", "") for each in read_html(html).find("bdi"))
    whole = ExplanationScore("x", "L1N355", "s", "correlation", 0.5, judgements=frame.assign(simulated=1.0))
    assert "grey" not in read_html(whole._repr_html_()).text


def test_many_explained_components_are_a_card(tmp_path):
    explained = ne.explain_dataset(
        "tiny", ["L1N355", "L2N5"], PatternExplainer(), [PatternScorer()], tmp_path / "out", progress=False
    )
    html = explained._repr_html_()
    page = assert_harmless(html).text
    frame = explained.to_dataframe()
    assert headings(html) == ["2 components explained"]
    assert all(text in page for text in frame["explanation"])  # whole, not cut off after a few words
    assert f"{frame['pattern'][0]:.2f}" in page
    assert "most frequent token" in page
    assert "not defined" in page  # the baseline of L2N5 is constant
    assert repr(ne.explain_dataset("tiny", "L1N355", out=tmp_path / "one")).startswith(
        "<ExplainedDataset of 1 component:"
    )
    shown = TokenTable(frame)._repr_html_() or ""
    assert all(html_escape(text, quote=False) in shown for text in frame["explanation"])


def test_many_more_explained_components_are_cut(tmp_path):
    names = [f"L1N{number}" for number in range(30)]
    explained = ne.explain_dataset("tiny", names, FrequentTokenExplainer(), out=tmp_path / "out", progress=False)
    html = explained._repr_html_()
    assert "the first 20 of 30 explanations" in read_html(html).text
    assert len(read_html(html).find("tr")) == 21


def test_a_score_of_ones_own_says_its_measure(node, tmp_path, monkeypatch):
    monkeypatch.setenv("NEURON_EXPLAINER_NOTES", str(tmp_path))
    score = ne.score("names", node, EmbeddingScorer(device="cpu"), baselines=False)
    node.explanations.add("names", score)
    node.explanations.add("others", 0.5)
    assert [each.measure for each in node.explanations.own] == ["AUROC, embedding", ""]
    page = assert_harmless(node.explanations._repr_html_()).text
    assert "AUROC, embedding" in page


def test_a_score_that_is_not_defined_is_told_from_one_that_failed():
    rows = [("L0N1", "a", math.nan, math.nan), ("L0N2", "b", math.nan, "s: ValueError: no"), ("L0N3", "c", 0.5, "")]
    frame = pandas.DataFrame(rows, columns=["component", "explanation", "s", "error"])
    frame = frame.assign(**{"s low": math.nan, "s high": math.nan})
    page = assert_harmless(explained_html(frame, 3, 1))
    assert "3 components explained, 1 with an error" in page.text
    cells = [[each.text for each in row.find("td")] for row in page.find("tr")[1:]]
    assert [row[-1] for row in cells] == ["not defined", "", "0.50"]
