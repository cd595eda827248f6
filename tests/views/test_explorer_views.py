"""What the explorer's page shows beside an answer's own page: the typed question, layers, changes, one node, notes."""

from dataclasses import replace
from pathlib import Path

import pytest

import neuron_explainer as ne
from helpers.derived_scalars import PROMPT as TOKEN_IDS
from helpers.derived_scalars import autoencoders, context
from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.html_reading import Element, assert_harmless
from neuron_explainer.attribution import Attribution, QuestionPreview, attribute, preview_question
from neuron_explainer.errors import InvalidRequestError, NeuronExplainerError, NodeNameError, UnknownNameError
from neuron_explainer.views.attribution import layer_map, preview
from neuron_explainer.views.attribution.changes import change_html
from neuron_explainer.views.attribution.layer_map import layer_map_html
from neuron_explainer.views.attribution.one_node.node_page import node_html
from neuron_explainer.views.attribution.page import attribution_document, attribution_html
from neuron_explainer.views.attribution.preview import preview_html
from neuron_explainer.views.colour import ColourScale, contrast
from neuron_explainer.views.document import INK, html_document
from neuron_explainer.views.heatmap import format_value
from neuron_explainer.views.token_text import token_label
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D

PROMPT = "And the LORD said unto"


@pytest.fixture(scope="module")
def model() -> ne.ModelContext:
    return ne.load_model("tiny")


@pytest.fixture(scope="module")
def why(model: ne.ModelContext) -> Attribution:
    return attribute(model, PROMPT, " Moses", " her")


def _marked(root: Element, tag: str | None = None) -> list[str]:
    return [each.attributes["data-ne-node"] for each in root.find(tag) if "data-ne-node" in each.attributes]


def _grids(root: Element) -> list[Element]:
    return [each for each in root.find("table") if "data-ne-grid" in each.attributes]


# Marks


def test_nodes_and_tokens_of_a_page_carry_their_names(why: Attribution) -> None:
    root = assert_harmless(attribution_html(why))
    (head_map,) = _grids(root)
    assert sorted(_marked(head_map)) == sorted(why.heads()["name"])
    for cell in head_map.find("td"):
        assert cell.attributes["title"].startswith(cell.attributes["data-ne-node"] + ":")
    in_tables = _marked(root, "span")
    assert {*why.nodes(10)["name"], *why.heads(8)["name"], *why.neurons(8)["name"]} <= set(in_tables)
    for span in root.find("span"):
        assert span.attributes.get("data-ne-node", span.text) == span.text
    for strip in root.find("div", "ne-strip"):
        marks = [token.attributes["data-ne-token"] for token in strip.find("bdi")]
        assert marks == [str(position) for position in range(6)]


# The question as it is typed


def _fields(found: QuestionPreview) -> dict[str, Element]:
    root = assert_harmless(preview_html(found))
    return {field.find("div")[0].text: field for field in root.find("div", "ne-field")}


def test_a_preview_shows_the_tokens_of_each_field(model: ne.ModelContext) -> None:
    found = preview_question(model, PROMPT, [" Moses", " Moses and Aaron"], " her")
    fields = _fields(found)
    assert list(fields) == ["prompt", "target", "distractor", "question"]
    assert [token.text for token in fields["prompt"].find("bdi")] == ["A", "nd", "·the", "·LORD", "·said", "·unto"]
    assert "6 tokens" in fields["prompt"].text
    assert [token.text for token in fields["target"].find("bdi")] == ["·Moses", "·Moses", "·and", "·A", "ar", "on"]
    assert f"token {found.targets[0].token_ids[0]}" in fields["target"].text
    assert "5 tokens" in fields["target"].text
    assert found.title in fields["question"].text
    notes = assert_harmless(preview_html(found)).find("div", "ne-hint")
    assert [note.text for note in notes] == list(found.hints)
    assert len(notes) == 1


def test_errors_stand_in_their_place_and_in_words(model: ne.ModelContext) -> None:
    found = preview_question(model, "", " Moses", 99999)
    fields = _fields(found)
    assert list(fields) == ["prompt", "target", "distractor"]
    for field in ("prompt", "distractor"):
        (error,) = fields[field].find("div", "ne-error")
        assert error.text == f"Error: {found.errors[field]}"
    assert not fields["target"].find("div", "ne-error")
    together = _fields(preview_question(model, PROMPT, " Moses", " her", metric="probs"))
    assert "Error: probs" in together["question"].text
    assert contrast(INK, "#fff4f2") > 7
    assert contrast("#8f1d13", "#fff4f2") > 4.5


def test_of_a_long_prompt_the_middle_is_left_out(model: ne.ModelContext) -> None:
    found = preview_question(model, list(range(5, 105)))
    field = _fields(found)["prompt"]
    assert "100 tokens" in field.text
    assert "⋯ 20 tokens ⋯" in field.text
    hovers = [token.attributes["title"] for token in field.find("bdi")]
    assert len(hovers) == 2 * preview._N_ENDS
    assert hovers[-1] == "position 99, token 104"
    assert len(_fields(preview_question(model, list(range(5, 86))))["prompt"].find("bdi")) == 81


def test_of_long_and_many_answers_the_ends_and_the_first_are_shown(model: ne.ModelContext) -> None:
    token_id = model.encode(" her", add_special_tokens=False)[0]
    html = preview_html(preview_question(model, "And", [[token_id] * 5_000, *[[token_id]] * 3_000]))
    text = assert_harmless(html).text
    assert "4,920 tokens" in text
    assert "and 2,951 others" in text
    assert len(html) < 200_000


def test_a_hostile_question_stays_text(model: ne.ModelContext) -> None:
    for text in HOSTILE_TOKENS:
        root = assert_harmless(preview_html(preview_question(model, text, text, [text, " her"])))
        assert "\u202e" not in root.text
    found = preview_question(model, PROMPT, " Moses")
    error = NeuronExplainerError("<script>window.pwned=1</script>\u202e")
    hostile = replace(found, title=HOSTILE_TOKENS[0], hints=tuple(HOSTILE_TOKENS), errors={"prompt": error})
    assert "<script>window.pwned=1</script>" in assert_harmless(preview_html(hostile)).text


# Layers and tokens


def test_the_maps_are_the_table_by_layer(why: Attribution) -> None:
    frame = why.tokens(by_layer=True)
    scale = ColourScale.of([*frame["attention_from"], *frame["mlp"]])
    root = assert_harmless(layer_map_html(why))
    for grid, column, part in zip(_grids(root), ("attention_from", "mlp"), ("ATTN", "MLP"), strict=True):
        cells = {cell.attributes["data-ne-node"]: cell.attributes for cell in grid.find("td")}
        assert len(cells) == len(frame) == 4 * 6
        for layer, position, effect in zip(frame["layer"], frame["position"], frame[column], strict=True):
            cell = cells[f"L{layer}{part}@{position}"]
            assert cell["bgcolor"] == scale.background(effect)
            assert cell["title"].endswith(f"({position}): {format_value(effect)}")
        assert [each.text for each in grid.find("bdi")] == ["A", "nd", "·the", "·LORD", "·said", "·unto"]
        assert [each.text for each in grid.find("tr")[0].find("th")] == ["layer →token ↓", "0", "1", "2", "3"]


def test_of_a_long_prompt_the_tokens_around_the_largest_effect_are_shown(
    why: Attribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer_map, "_N_TOKENS", 2)
    frame = why.tokens(by_layer=True)
    peak = frame["position"].iloc[int(frame[["attention_from", "mlp"]].abs().max(axis=1).argmax())]
    root = assert_harmless(layer_map_html(why))
    shown = [each.attributes["data-ne-token"] for each in _grids(root)[0].find("bdi")]
    assert str(peak) in shown
    assert len(shown) == 2
    assert f"tokens {shown[0]}–{shown[1]} of 6" in root.text


def test_each_answer_of_several_tokens_has_its_maps(model: ne.ModelContext) -> None:
    several = attribute(model, PROMPT, [" Moses and", " Moses and"], " her")
    root = assert_harmless(layer_map_html(several))
    assert [len(grid.find("tr")) - 1 for grid in _grids(root)] == [7] * 4 + [6] * 2
    assert [each.text for each in root.find("b")][1:] == ["' Moses and'", "' Moses and'", "' her'"]


def test_latents_have_a_map_whose_cells_name_no_node() -> None:
    why = attribute(context("gpt2"), TOKEN_IDS, "t7", "t11", autoencoders=autoencoders("gpt2", D.RESID_DELTA_MLP))
    root = assert_harmless(layer_map_html(why))
    assert "latents" in root.text
    assert not _marked(_grids(root)[-1])
    assert _grids(root)[-1].find("td")


# Changes


def test_a_change_says_the_number_before_and_after_it() -> None:
    root = assert_harmless(change_html("L2H3 = mean", 1.897, 1.5))
    assert root.find("section")[0].text == "L2H3 = mean · 1.897 → 1.5 · −0.397"
    assert _marked(root) == ["L2H3"]
    off = assert_harmless(change_html("L2H3@4 = 0", 1.0, 2.0, False)).find("section")[0]
    assert off.text == "L2H3@4 = 0 · switched off"
    assert "not yet computed" in assert_harmless(change_html("L2H3 = 0", None, None)).text
    for text in HOSTILE_TOKENS:
        assert_harmless(change_html(f"{text} = {text}", 1.0, 2.0))


# One node


def _numbers(root: Element) -> dict[str, str]:
    (line,) = root.find("div", "ne-numbers")
    cells = [cell for cell in line.find("span") if cell.find("b")]
    return {cell.find("span")[0].text: cell.find("b")[0].text for cell in cells}


def _number(text: str) -> float:
    return float(text.replace("−", "-"))


@pytest.mark.parametrize("kind", ["head", "neuron", "embedding"])
def test_a_node_at_a_token_has_its_numbers(why: Attribution, kind: str) -> None:
    row = why.nodes(1, kinds=kind).iloc[0]
    root = assert_harmless(node_html(why, row["name"]))
    numbers = _numbers(root)
    expected = ["write norm", "direct effect", "total effect"]
    assert list(numbers) == expected if kind == "embedding" else ["activation", *expected]
    for label, text in numbers.items():
        assert _number(text) == _number(format_value(row[label.replace(" ", "_")]))
    assert _marked(root)[0] == row["name"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("L2H3@5<-2", "attention head 3 of layer 2 at ·unto (5), attending to ·the (2)"),
        ("l2h3@-1", "attention head 3 of layer 2 at ·unto (5)"),
        ("L1N339@' LORD'", "MLP neuron 339 of layer 1 at ·LORD (3)"),
        ("L1N339", "MLP neuron 339 of layer 1"),
        ("EMB@0", "embedding at A (0)"),
        ("L2MLP@5", "MLP of layer 2 at ·unto (5)"),
        ("L2ATTN", "attention of layer 2"),
    ],
)
def test_a_node_is_named_in_words(why: Attribution, name: str, words: str) -> None:
    root = assert_harmless(node_html(why, name))
    (first,) = root.find("section")[0].find("div")[:1]
    assert first.text.partition(" ")[2] == words


def test_a_whole_component_shows_where_it_matters(why: Attribution) -> None:
    for name in ("L2H3", "L1N339", "L2H3@5"):
        root = assert_harmless(node_html(why, name))
        shown = [mark for mark in _marked(root, "span") if "@" in mark][:5]
        assert shown == list(why.nodes(5, "total_effect", names=name)["name"])


def test_a_neuron_is_shown_over_the_prompt_and_a_head_by_its_pattern(why: Attribution) -> None:
    frame = why.activations_of("L1N339")
    root = assert_harmless(node_html(why, "L1N339@3"))
    for text, column in zip(root.find("div", "ne-text"), ("activation", "total_effect"), strict=True):
        hovers = [token.attributes["title"] for token in text.find("bdi")]
        assert [hover.rsplit(" ", 1)[1] for hover in hovers] == [format_value(each) for each in frame[column]]
    head = assert_harmless(node_html(why, "L2H3"))
    assert "Attention of L2H3" in head.text
    assert "first token" not in head.text
    assert "first token" in assert_harmless(node_html(why, "L2H3", skip_first=True)).text


def test_a_node_says_what_it_writes(why: Attribution) -> None:
    frame = why.writes("L1N339@5", 8)
    root = assert_harmless(node_html(why, "L1N339@5"))
    raised, lowered = ([row.find("td") for row in table.find("tr")[1:]] for table in root.find("table")[-2:])
    found = [(row[0].text, _number(row[1].text)) for row in (*raised, *reversed(lowered))]
    assert [number for _, number in found] == [_number(format_value(each)) for each in frame["logit"]]
    assert [token for token, _ in found] == [token_label(token) for token in frame["token"]]


def test_without_its_model_a_node_says_why_there_is_no_write(why: Attribution, tmp_path: Path) -> None:
    why.save(tmp_path / "why.safetensors")
    alone = ne.load_attribution(tmp_path / "why.safetensors")
    for name in ("L2H3@5<-1", "L1N339", "L2MLP@5"):
        assert "This needs the model" in assert_harmless(node_html(alone, name)).text


def test_the_layer_parts_have_their_total_effects(why: Attribution) -> None:
    frame = why.tokens(by_layer=True)
    own = frame[frame["layer"] == 2]
    (mlp,) = _numbers(assert_harmless(node_html(why, "L2MLP@5"))).values()
    assert _number(mlp) == _number(format_value(own[own["position"] == 5]["mlp"].iloc[0]))
    both = _numbers(assert_harmless(node_html(why, "L2ATTN")))
    assert _number(both["total effect of attention from"]) == _number(format_value(own["attention_from"].sum()))


def test_a_verified_node_has_its_estimate_and_what_was_measured(why: Attribution) -> None:
    verified = why.verify(3)
    row = verified.iloc[1]
    root = assert_harmless(node_html(why, row["name"], verified))
    (table,) = [each for each in root.find("table") if "measured" in each.text]
    cells = [cell.text for cell in table.find("td")]
    assert cells == [row["name"], format_value(row["estimate"]), format_value(row["measured"])]
    assert "Verified" not in assert_harmless(node_html(why, "L3N1@0", verified)).text


def test_what_is_no_node_is_refused(why: Attribution) -> None:
    for name, error in (("nothing", NodeNameError), ("L1N339@99", IndexError), ("L9N0@1", NeuronExplainerError)):
        with pytest.raises(error):
            node_html(why, name)
    with pytest.raises(InvalidRequestError):
        node_html(why, "L9MLP@1")


def test_a_node_of_a_later_pass_has_its_page(model: ne.ModelContext) -> None:
    several = attribute(model, PROMPT, " her", " Moses and Aaron")
    frame = several.nodes(60)
    row = frame[frame["name"].str.contains("@7<-6")].iloc[0]
    root = assert_harmless(node_html(several, row["name"]))
    numbers = _numbers(root)
    assert _number(numbers["total effect"]) == _number(format_value(row["total_effect"]))
    assert root.text.count("in the pass about ' Moses and Aaron'") == 2  # of the node, and of the pattern
    assert "·Moses" in root.find("div", "ne-text")[0].text
    for answer, expected in several.nodes(10, names="EMB@5").set_index("answer")["total_effect"].items():
        numbers = _numbers(assert_harmless(node_html(several, "EMB@5", answer=str(answer))))
        assert _number(numbers["total effect"]) == _number(format_value(expected))
    with pytest.raises(UnknownNameError, match="nobody"):
        node_html(several, "EMB@5", answer="nobody")
    with pytest.raises(IndexError):
        node_html(several, "EMB@77")


def test_a_trace_has_its_views(why: Attribution) -> None:
    up = why.trace("L2H3", "q")
    assert len(_grids(assert_harmless(layer_map_html(up)))) == 2
    assert "total effect" in assert_harmless(node_html(up, "L1N339@3")).text
    with pytest.raises(InvalidRequestError, match="layer 3"):
        node_html(up, "L3H0")


def test_latents_are_nodes() -> None:
    why = attribute(context("gpt2"), TOKEN_IDS, "t7", "t11", autoencoders=autoencoders("gpt2", D.RESID_DELTA_MLP))
    row = why.nodes(1, kinds="latent").iloc[0]
    root = assert_harmless(node_html(why, row["name"]))
    assert "autoencoder latent" in root.text
    assert _number(_numbers(root)["total effect"]) == _number(format_value(row["total_effect"]))
    assert len(root.find("div", "ne-text")) == 2


def test_hostile_tokens_stay_text(model: ne.ModelContext) -> None:
    hostile = attribute(model, [5 + number for number in range(len(HOSTILE_TOKENS))], 40, 41)
    hostile.effects[0].prompt.token_strings[:] = HOSTILE_TOKENS
    hostile.texts_of = lambda ids: [HOSTILE_TOKENS[each % len(HOSTILE_TOKENS)] for each in ids]
    for name in ("L2H3@3<-0", "L2H3", "L1N339@0", "L1N339", "EMB@0", "L2MLP@0"):
        assert "<script>window.pwned=1</script>" in assert_harmless(node_html(hostile, name)).text
    assert "<script>window.pwned=1</script>" in assert_harmless(layer_map_html(hostile)).text


# What the explorer's page adds to a snapshot


def test_a_snapshot_alone_has_no_further_sections(why: Attribution) -> None:
    text = assert_harmless(attribution_html(why)).text
    for title in ("Notes", "Changes", "Two prompts side by side", "The code"):
        assert title not in text


def test_a_snapshot_takes_changes_notes_code_and_a_comparison(why: Attribution) -> None:
    less = why.ablate("L2H3")
    notes = "Mine: $x$ <b>bold</b>\n\nsecond line"
    code = 'import neuron_explainer as ne\nwhy = ne.attribute(model, "<script>", " Moses")\n'
    more = {
        "comparison": why.compare("And the king said unto"),
        "changes": [("L2H3 = 0", why.value, less.value), ("L1N339 = mean", None, None, False)],
        "notes": notes,
        "code": code,
    }
    html = attribution_html(less, **more)  # type: ignore[arg-type]
    root = assert_harmless(html)
    assert [each.text for each in root.find("pre")] == [notes, code]
    assert f"L2H3 = 0 · {format_value(why.value)} → {format_value(less.value)}" in root.text
    assert "L1N339 = mean · switched off" in root.text
    assert "the first minus the second" in root.text
    assert len(root.find("section")) == 1
    assert attribution_document(less, **more) == html_document(
        html, f"{less.inquiry.title} = {format_value(less.value)}"
    )
    for text in HOSTILE_TOKENS:
        assert_harmless(attribution_html(why, notes=text, code=text))
