"""Answers side by side: what the table says, and that no text in it is markup."""

import math

from helpers.hostile_tokens import HOSTILE_TOKENS
from neuron_explainer.experiments.steering.answers import SteeredAnswer, SteeredAnswers
from neuron_explainer.views.experiments.steering import steered_answers_html

ANSWERS = SteeredAnswers(
    ("Once", " upon"),
    "what L2N5 writes at layer 2",
    "add",
    (SteeredAnswer(None, " a time", (3, 4), -2.5), SteeredAnswer(4.5, " a king", (3, 9), -1.25)),
    " king",
)


def test_strengths_answers_and_changes_are_there() -> None:
    html = ANSWERS._repr_html_()
    for text in (
        "without",
        "4.5",
        "−2.500",
        "−1.250",
        "+1.25",
        "what L2N5 writes at layer 2",
        "king",
        "mathjax_ignore",
    ):
        assert text in html, text
    table = ANSWERS.to_dataframe()
    assert math.isnan(table["strength"][0])
    assert table["change"].tolist() == [0, 1.25]
    assert repr(ANSWERS).splitlines()[2].split() == ["4.5", "'", "a", "king'"]


def test_without_a_text_there_are_two_columns() -> None:
    rows = tuple(SteeredAnswer(row.strength, row.answer, row.token_ids) for row in ANSWERS.rows)
    answers = SteeredAnswers(ANSWERS.prompt, ANSWERS.direction, ANSWERS.mode, rows)
    assert answers.to_dataframe().columns.tolist() == ["strength", "answer", "n_tokens"]
    assert "ln p" not in steered_answers_html(answers)


def test_hostile_texts_stay_text() -> None:
    for text in HOSTILE_TOKENS:
        html = steered_answers_html(
            SteeredAnswers((text,), text, "add", (SteeredAnswer(None, text, (1,), -1.0),) * 2, text)
        )
        assert "<script" not in html
        assert "<img" not in html
        assert "onerror=" not in html.replace("&quot;", "") or "&lt;" in html


def test_long_answers_break_between_words_and_within_them() -> None:
    long = (SteeredAnswer(None, " a time" * 3, (3,)), SteeredAnswer(-2.0, "x" * 400, (9,)))
    html = steered_answers_html(SteeredAnswers(("Once",), "a direction", "add", long))
    assert html.count("<wbr>") >= 5
    assert "overflow-wrap:anywhere" in html
    assert "−2" in html
    assert "add: a direction" in html
