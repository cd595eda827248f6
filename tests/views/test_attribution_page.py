"""The pages of answers: what they show, that it sums, and that text stays text."""

import copy
import math
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import neuron_explainer as ne
from helpers.derived_scalars import PROMPT as TOKEN_IDS
from helpers.derived_scalars import autoencoders, context
from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.html_reading import Element, assert_harmless, read_html
from neuron_explainer.attribution import Attribution, Attributions, attribute
from neuron_explainer.attribution.history import Step
from neuron_explainer.attribution.question.answers import Answer
from neuron_explainer.views.attribution import heading
from neuron_explainer.views.attribution.cells import percentage
from neuron_explainer.views.attribution.comparison import comparison_document, comparison_html
from neuron_explainer.views.attribution.node_tables import nodes_that_matter
from neuron_explainer.views.attribution.page import attribution_document, attribution_html
from neuron_explainer.views.attribution.several import attributions_document, attributions_html
from neuron_explainer.views.attribution.waterfalls.part_sums import BIASES, part_sums
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D

PROMPT = "And the LORD said unto"


@pytest.fixture(scope="module")
def model() -> ne.ModelContext:
    return ne.load_model("tiny")


@pytest.fixture(scope="module")
def why(model: ne.ModelContext) -> Attribution:
    return attribute(model, PROMPT, " Moses", " her")


@pytest.fixture(scope="module")
def long_answers(model: ne.ModelContext) -> Attribution:
    return attribute(model, PROMPT, " Moses and Aaron", " her")


def _page(why: Attribution) -> Element:
    (card,) = assert_harmless(attribution_html(why)).find("section", "ne-attribution")
    return card


def _number(text: str) -> float:
    return float(text.replace("−", "-"))


def _sums(root: Element) -> list[tuple[dict[str, float], float]]:
    """The terms of each sum in words and numbers, and what it comes to."""
    found = []
    for line in root.find("div", "ne-sum"):
        *terms, value = [cell.text for cell in line.find("span") if cell.find("b")]
        numbers = {text.rsplit(" ", 1)[0]: _number(text.rsplit(" ", 1)[1]) for text in terms}
        found.append((numbers, _number(value.removeprefix("= "))))
    return found


def _bars(root: Element) -> list[list[tuple[str, int, int]]]:
    """The bars of each waterfall: what the pointer over it says, and its top and bottom in pixels."""
    charts = []
    for chart in root.find("div", "ne-waterfall"):
        bars = []
        for column in chart.find("span"):
            if "title" in column.attributes:
                top = 0
                for piece in column.find("span"):
                    bottom = top + int(piece.style["height"].removesuffix("px"))
                    if "border" in piece.style:
                        bars.append((column.attributes["title"], top, bottom))
                    top = bottom
        charts.append(bars)
    return charts


def _tables(root: Element) -> dict[str, list[list[str]]]:
    """The rows of each table, under the names of its columns."""
    tables = {}
    for table in root.find("table"):
        heads = [cell.text for cell in table.find("th")]
        tables[", ".join(heads)] = [[cell.text for cell in row.find("td")] for row in table.find("tr")]
    return tables


def _table(root: Element, *columns: str) -> list[list[str]]:
    (rows,) = [rows for heads, rows in _tables(root).items() if set(columns) <= set(heads.split(", "))]
    return rows[1:]


# The number and its sum


def test_the_question_its_number_and_the_residue_are_on_top(why: Attribution) -> None:
    text = _page(why).text
    assert f"{why.inquiry.title} = {format_value(why.value)}" in text
    assert f"parts sum to {format_value(why.value)}; residue {format_value(float(f'{why.residue:.2g}'))}" in text
    assert "soft-capped" not in text
    assert "before:" not in text
    assert "overwritten" not in text


def test_the_terms_are_the_parts_and_sum_to_the_value(why: Attribution) -> None:
    (total,) = part_sums(why)
    parts = why.parts()
    assert total.value == why.value
    assert sum(term.effect for term in total.terms) + total.residue == pytest.approx(why.value, abs=1e-9)
    assert total.residue == why.residue
    assert total.by_kind["MLP"] == pytest.approx(parts[parts["part"] == "MLP"]["direct_effect"].sum())
    biases = parts[parts["part"].str.endswith("bias")]["direct_effect"].sum()
    assert total.terms[-1].kind == BIASES
    assert total.by_kind[BIASES] == pytest.approx(biases)
    ((terms, value),) = _sums(_page(why))
    assert list(terms) == ["embedding", "positions", "attention", "MLP", "biases", "residue"]
    assert sum(terms.values()) == pytest.approx(value, abs=2e-3)
    assert value == _number(format_value(why.value))


def test_each_bar_begins_where_the_one_before_it_ends(why: Attribution) -> None:
    (bars,) = _bars(_page(why))
    assert len(bars) == 2 + 2 * 4 + 1 + 2  # embedding, positions; layers; biases; residue, sum
    end, so_far = None, 0.0
    for hover, top, bottom in bars[:-1]:
        effect, total = map(_number, re.fullmatch(r".*: \+?(\S+), sum so far (\S+)", hover).groups())  # type: ignore[union-attr]
        so_far += effect
        assert total == pytest.approx(so_far, abs=5e-3)
        begins, ends = (bottom, top) if effect > 0 else (top, bottom)
        assert end is None or abs(begins - end) <= 1
        end = ends
    hover, top, bottom = bars[-1]
    assert hover == f"sum: {format_value(why.value)}"
    assert end in (top, bottom) or min(abs(top - end), abs(bottom - end)) <= 1  # type: ignore[operator]


def test_all_parts_are_in_numbers(why: Attribution) -> None:
    rows = _table(_page(why), "part", "layer", "direct effect")
    parts = why.parts()
    assert [row[0] for row in rows] == list(parts["part"])
    assert [row[1] for row in rows] == ["" if pd.isna(layer) else str(layer) for layer in parts["layer"]]
    assert [_number(row[2]) for row in rows] == [_number(format_value(each)) for each in parts["direct_effect"]]


def test_a_capped_value_is_shown_beside_the_number(why: Attribution) -> None:
    capped = Attribution(why.setting, why.inquiry, [replace(why.effects[0], capped_value=0.0625)])
    assert "soft-capped logits: 0.0625" in _page(capped).text


def test_with_autoencoders_latents_and_errors_are_parts() -> None:
    why = attribute(context("gpt2"), TOKEN_IDS, "t7", "t11", autoencoders=autoencoders("gpt2", D.RESID_DELTA_MLP))
    root = _page(why)
    ((terms, value),) = _sums(root)
    assert {"attention", "latents", "autoencoder error"} < set(terms)
    assert sum(terms.values()) == pytest.approx(value, abs=2e-3)
    assert "Latents" in root.text
    assert "Neurons" not in root.text
    (bars,) = _bars(root)
    assert sum(bar.startswith("layer 1") for bar, _, _ in bars) == 3


def test_an_autoencoder_on_the_residual_stream_stands_for_all_below_it() -> None:
    why = attribute(context("gpt2"), TOKEN_IDS, "t7", "t11", autoencoders=autoencoders("gpt2", D.RESID_POST_MLP))
    root = _page(why)
    ((terms, _),) = _sums(root)
    assert set(terms) == {"latents", "autoencoder error", "biases", "residue"}
    assert "Direct effects of heads" not in root.text
    assert "not a number" not in root.text


# Predictions


def test_next_tokens_and_answers_have_their_marks(why: Attribution) -> None:
    root = _page(why)
    rows = _table(root, "rank", "token", "logit")
    table = why.next_tokens()
    assert [row[0] for row in rows] == [str(rank) for rank in table["rank"]]
    assert {row[1]: row[-1] for row in rows if row[-1]} == {"·Moses": "target", "·her": "distractor"}
    probabilities = [_number(row[2].strip().removesuffix("%")) for row in rows]
    assert probabilities == pytest.approx([100 * each for each in table["probability"]], abs=0.05)
    (moses, her) = _table(root, "answer", "log probability")
    assert (moses[0], moses[1], her[0], her[1]) == ("·Moses", "target", "·her", "distractor")
    assert _number(moses[-1]) == pytest.approx(why.answers()["log_probability"][0], rel=1e-3)


def test_percentages_keep_small_probabilities() -> None:
    assert [percentage(each) for each in (1.0, 0.5, 0.0012, 0.00012, 1.2e-7, 0.0)] == [
        "100.0%",
        "50.0%",
        "0.1%",
        "0.012%",
        "1.2e−05%",
        "0.0%",
    ]


def test_a_trace_has_no_predictions(why: Attribution) -> None:
    up = why.trace("L2H3", "q")
    root = _page(up)
    assert up.inquiry.title in root.text
    assert "Next tokens" not in root.text
    assert "Answers" not in root.text
    ((terms, value),) = _sums(root)
    assert sum(terms.values()) == pytest.approx(value, abs=2e-3)
    (history,) = root.find("div", "ne-history")
    assert history.text == f"before: {why.inquiry.title} = {format_value(why.value)} → this answer"


def test_a_question_without_answers_has_no_table_of_them(model: ne.ModelContext) -> None:
    page = _page(attribute(model, PROMPT, metric=lambda logits: logits[-1, 5])).text
    assert "Answers" not in page
    assert "Next tokens" in page
    assert "Answers" in _page(attribute(model, PROMPT)).text  # the two tokens that the model chose


# Answers of several tokens


def test_each_answer_has_its_sum(long_answers: Attribution) -> None:
    root = _page(long_answers)
    assert len(root.find("div", "ne-hint")) == len(long_answers.hints) == 1
    (moses, her) = _sums(root)
    for terms, value in (moses, her):
        assert "nonlinearity" in terms
        assert sum(terms.values()) == pytest.approx(value, abs=5e-3)
    assert moses[1] + her[1] == pytest.approx(long_answers.value, abs=5e-3)
    log_probabilities = [format_value(each) for each in long_answers.answers()["log_probability"]]
    assert f"' Moses and Aaron' log-probability {log_probabilities[0]}, with weight 1" in root.text
    assert f"' her' log-probability {log_probabilities[1]}, with weight −1" in root.text
    assert len(root.find("div", "ne-strip")) == 2 * 4
    assert {row[0] for row in _table(root, "answer", "predicting position", "name")} == {"·Moses·and·Aaron", "·her"}


def test_an_answer_that_is_given_twice_has_the_strips_of_each_pass(model: ne.ModelContext) -> None:
    root = _page(attribute(model, PROMPT, [" Moses and", " Moses and"], " Moses and"))
    assert len(root.find("div", "ne-strip")) == 3 * 4
    assert {len(strip.find("bdi")) for strip in root.find("div", "ne-strip")} == {7}
    ((_, value),) = _sums(root)
    assert value == pytest.approx(0.0, abs=1e-4)


# Tokens, heads, nodes


def test_strips_show_the_effects_of_tokens(why: Attribution) -> None:
    strips = _page(why).find("div", "ne-strip")
    table = why.tokens()
    names = ["embedding", "attention_from", "attention_to", "mlp"]
    for name, strip in zip(names, strips, strict=True):
        hovers = [token.attributes["title"] for token in strip.find("bdi")]
        assert [hover.rsplit(" ", 1)[1] for hover in hovers] == [format_value(each) for each in table[name]]
        assert format_value(table[name].sum()) in strip.text


def test_the_map_has_every_head(why: Attribution) -> None:
    (table,) = _page(why).find("table", "ne-pairs")
    hovers = [cell.attributes["title"] for cell in table.find("td") if "bgcolor" in cell.attributes]
    heads = why.heads()
    expected = {
        f"{name}: {format_value(each)}" for name, each in zip(heads["name"], heads["direct_effect"], strict=True)
    }
    assert set(hovers) == expected
    assert len(hovers) == 16
    assert hovers[1].startswith("L1H0")  # the second column is layer 1


def test_nodes_are_the_union_of_both_rankings(why: Attribution) -> None:
    frame = nodes_that_matter(why)
    assert set(frame["name"]) == {*why.nodes(10)["name"], *why.nodes(10, "direct_effect")["name"]}
    assert frame["name"].is_unique
    rows = _table(_page(why), "name", "token", "attended to", "write norm")
    assert [row[0] for row in rows] == list(frame["name"])


def test_a_table_of_nodes_is_shown_without_its_index(why: Attribution) -> None:
    html = why.nodes(3)._repr_html_()  # type: ignore[operator]
    assert "NodeIndex" not in html
    (table,) = assert_harmless(html).find("table")
    assert table.find("tbody")[0].find("td")[0].text == why.nodes(1)["name"].iloc[0]
    assert "<th></th>" not in html
    assert "<th>0</th>" in why.next_tokens()._repr_html_()  # type: ignore[operator]


# What came before


def test_what_is_overwritten_and_the_history_are_shown(why: Attribution) -> None:
    less = why.ablate("L2H3", "L0N489@5")
    root = _page(less)
    (overwritten,) = root.find("div", "ne-ablations")
    assert overwritten.text == f"overwritten {', '.join(less.ablated)}"
    (history,) = root.find("div", "ne-history")
    change = less.value - why.value
    assert history.text.endswith(f"this answer, changed by {'+' if change > 0 else ''}{format_value(change)}")
    many = replace(less.asked_setting, notes=tuple(f"L0N{number} = 0" for number in range(50)))
    (overwritten,) = _page(Attribution(many, why.inquiry, why.effects)).find("div", "ne-ablations")
    assert overwritten.text.endswith("L0N11 = 0, and 38 more")


# Several prompts, and two side by side


def test_several_prompts_have_a_mean_sum(model: ne.ModelContext, tmp_path: Path) -> None:
    several = attribute(model, [PROMPT, "And God said"], " Moses", " her")
    root = assert_harmless(attributions_html(several))
    assert "mean over 2 prompts" in root.text
    ((terms, value),) = _sums(root)
    assert sum(terms.values()) == pytest.approx(value, abs=2e-3)
    assert value == _number(format_value(sum(several.values) / 2))
    rows = _table(root, "prompt", "question", "value")
    assert [row[0] for row in rows] == ["And·the·LORD·said·unto", "And·God·said"]
    assert [row[2] for row in rows] == [format_value(each) for each in several.values]
    assert [row[0] for row in _table(root, "name", "direct effect std")] == list(several.heads(8)["name"])
    assert attributions_document(several).startswith("<!DOCTYPE html>")
    several.save_html(tmp_path / "several.html")
    assert (tmp_path / "several.html").read_text(encoding="utf-8") == attributions_document(several)
    assert "No prompts" in assert_harmless(attributions_html(Attributions([]))).text


def test_of_many_prompts_some_are_left_out(why: Attribution) -> None:
    root = assert_harmless(attributions_html(Attributions([why] * 45)))
    assert "and 5 prompts more" in root.text
    assert len(_table(root, "prompt", "value")) == 40


def test_a_comparison_shows_the_largest_difference_first(why: Attribution, tmp_path: Path) -> None:
    both = why.compare("And the king said unto")
    html = comparison_html(both)
    root = assert_harmless(html)
    assert "And·the·king·said·unto" in root.text
    assert format_value(both.difference) in root.text
    assert [value for _, value in _sums(root)] == [
        _number(format_value(each.value)) for each in (both.first, both.second)
    ]
    for columns in (("part", "direct effect 1", "difference"), ("name", "total effect 2", "difference")):
        differences = [abs(_number(row[-1])) for row in _table(root, *columns)]
        assert differences == sorted(differences, reverse=True)
    assert len(_table(root, "token", "probability 1", "probability 2")) == len(both.next_tokens(10))
    assert comparison_document(both).startswith("<!DOCTYPE html>")
    both.save_html(tmp_path / "both.html")
    assert (tmp_path / "both.html").read_text(encoding="utf-8") == comparison_document(both)
    same = assert_harmless(comparison_html(why.compare(PROMPT)))
    assert _table(same, "name", "token", "total effect 2") is not None  # one column for tokens that are the same


# Text stays text; size


def _hostile(model: ne.ModelContext) -> Attribution:
    """An answer whose every text is hostile."""
    ids = [5 + number for number in range(len(HOSTILE_TOKENS))]
    plain = attribute(model, ids, 40, 41)
    (effects,) = plain.effects
    store = copy.copy(effects.store)
    store.tokens, store.model_name = HOSTILE_TOKENS, HOSTILE_TOKENS[0]
    answers = tuple(
        Answer(text, (number + 5,), is_target=bool(number % 2)) for number, text in enumerate(HOSTILE_TOKENS)
    )
    inquiry = replace(plain.inquiry, answers=answers, hints=tuple(HOSTILE_TOKENS))
    setting = replace(plain.asked_setting, notes=tuple(HOSTILE_TOKENS))
    history = tuple(Step({}, text, 1.0, None, None) for text in HOSTILE_TOKENS)
    hostile = replace(effects, store=store, prompt=replace(effects.prompt, token_strings=HOSTILE_TOKENS))
    found = Attribution(setting, inquiry, [hostile], history)
    found.texts_of = lambda token_ids: [HOSTILE_TOKENS[token % len(HOSTILE_TOKENS)] for token in token_ids]  # type: ignore[method-assign]
    return found


def test_hostile_text_is_harmless(model: ne.ModelContext) -> None:
    hostile = _hostile(model)
    pages = [
        attribution_html(hostile),
        attributions_html(Attributions([hostile, hostile])),
        comparison_html(hostile.compare(hostile)),
    ]
    for page in pages:
        text = assert_harmless(page).text
        assert "<script>window.pwned=1</script>" in text
        for steering in ("\u202e", "\x1b", "\x00"):
            assert steering not in page


def test_hostile_answers_of_several_tokens_are_harmless(long_answers: Attribution) -> None:
    for first, second in zip(HOSTILE_TOKENS[::2], HOSTILE_TOKENS[1::2], strict=False):
        passes = tuple(
            replace(asked, answer=text)
            for asked, text in zip(long_answers.inquiry.passes, (first, second), strict=True)
        )
        inquiry = replace(long_answers.inquiry, passes=passes)  # type: ignore[type-var]
        root = _page(Attribution(long_answers.setting, inquiry, long_answers.effects))
        assert len(root.find("div", "ne-sum")) == 2
        assert "\u202e" not in root.text


def test_pages_are_whole_files_without_scripts(why: Attribution) -> None:
    document = attribution_document(why)
    assert document.startswith("<!DOCTYPE html>")
    assert f"<title>{why.inquiry.title} = {format_value(why.value)}</title>".replace("'", "&#x27;") in document
    for word in ("<script", "http://", "https://", "src=", "href="):
        assert word not in document


def test_a_page_of_64_tokens_is_small(model: ne.ModelContext) -> None:
    page = attribution_html(attribute(model, list(range(5, 69)), 40, 41))
    assert len(page) < 300_000
    assert len(read_html(page).find("div", "ne-strip")[0].find("bdi")) == 64


def test_of_a_long_prompt_the_middle_is_left_out(model: ne.ModelContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heading, "_N_ENDS", 2)
    text = _page(attribute(model, PROMPT)).text
    assert "And ⋯ ·said·unto" in text


def test_numbers_that_are_not_finite_break_nothing(why: Attribution) -> None:
    (effects,) = why.effects
    for damaged in (
        replace(effects, value=math.nan),
        replace(effects, constants={"final norm bias": math.inf}),
        replace(effects, logits=None if effects.logits is None else effects.logits * math.nan),
    ):
        root = _page(Attribution(why.setting, why.inquiry, [damaged]))
        assert len(root.find("div", "ne-sum")) == 1


def test_an_answer_without_its_model_has_all_but_the_norms_of_writes(why: Attribution) -> None:
    alone = Attribution(None, why.inquiry, why.effects)
    norms = alone.nodes(10, kinds=["head", "neuron"])["write_norm"]
    assert norms.isna().all()
    root, whole = _page(alone), _page(why)
    for name in why.nodes(5)["name"]:
        assert name in root.text
    assert len(root.text) < len(whole.text)
    assert len(root.find("div", "ne-waterfall")) == len(whole.find("div", "ne-waterfall")) == 1


def test_what_is_wide_scrolls_within_itself(why: Attribution) -> None:
    def assert_scrolls(element: Element, scrolls: bool) -> None:
        scrolls = scrolls or element.style.get("overflow-x") == "auto"
        assert (
            scrolls
            or (element.tag != "table" and "min-width" not in element.style)
            or element.style["min-width"] == "0"
        )
        for child in element.children:
            if isinstance(child, Element):
                assert_scrolls(child, scrolls)

    assert_scrolls(_page(why), False)
    assert attribution_html(why).count("<wbr>") == 5 * 4  # the prompt's lines can break, in itself and in each strip
