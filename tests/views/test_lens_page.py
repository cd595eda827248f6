"""The page and the figure of what a lens reads."""

import pytest
import torch

import neuron_explainer as ne
from benchmarks.small_models import small_context
from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.html_reading import assert_harmless
from neuron_explainer.activations.derived_scalars.engine.prompts import Prompt
from neuron_explainer.experiments.lenses.logits_read import TokensRead
from neuron_explainer.views.experiments import lens_page
from neuron_explainer.views.experiments.lens_page import PROBABILITIES, ShownPart


def test_the_page_has_the_likeliest_token_of_each_layer_and_position() -> None:
    model = ne.load_model("tiny", device="cpu")
    reading = ne.lens(model, "And the LORD said unto", tokens=" Moses")
    html = reading._repr_html_()
    text = assert_harmless(html).text
    assert "Logit lens: the residual stream after each layer" in text
    rows = html.split("Rank of")[0].split("<tr")[1:]
    assert [row.split('scope="row"')[1].split(">")[1].split("<")[0] for row in rows[1:]] == ["L3", "L2", "L1", "L0"]
    top = reading.to_dataframe().query("layer == 3 and position == 5")
    cell = rows[1].split("<td")[-1]
    assert PROBABILITIES.style(top.probability.iloc[0]) in cell
    for token, share in zip(top.top_token, top.probability, strict=True):
        assert f"{token.replace(' ', '·')} {100 * share:.1f}%" in cell
    assert "KL 0 nats" in cell
    rank = reading.of_tokens.query("layer == 0 and position == 5")["rank"].item()
    assert f">{rank:,}</td>" in html.split("Rank of ·Moses", 1)[1]


@pytest.mark.parametrize("of", ["attn", "mlp", "heads"])
def test_writes_have_pages_and_figures_too(of: ne.LensReading) -> None:
    reading = ne.lens(small_context("gemma2"), [5, 17, 3], of=of, positions=-1)  # type: ignore[arg-type]
    assert_harmless(reading._repr_html_())
    figure = reading.figure()
    assert list(figure.data[0].y or figure.layout.yaxis.ticktext) == reading.row_names
    assert figure.data[0].z.shape == (len(reading.row_names), 1)


def test_the_figure_has_what_the_table_has() -> None:
    reading = ne.lens(small_context("llama"), [5, 17, 3], top=2)
    figure = reading.figure()
    frame = reading.to_dataframe().query("rank == 1")
    assert figure.data[0].z.flatten().tolist() == pytest.approx(frame.probability.tolist())
    assert [text for row in figure.data[0].text for text in row] == frame.top_token.tolist()
    assert figure.data[0].customdata[0][0].startswith("L0 at 0: t5<br>")
    assert_harmless(figure._snapshot)


def test_a_page_of_many_cells_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lens_page, "_MOST_CELLS", 6)
    html = ne.lens(small_context("llama"), [5, 17, 3, 9])._repr_html_()
    assert "Shown: the last 2 of 4 positions. The tables have all." in html
    assert html.count("<td") == 6
    assert ShownPart.of(10, 5, 8).rows == [9, 8, 7, 6, 5, 4, 3, 2]
    assert (
        ShownPart.of(10, 5, 8).note
        == "Shown: the last 1 of 5 positions and the last 8 of 10 rows. The tables have all."
    )


def test_hostile_tokens_stay_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    n = len(HOSTILE_TOKENS)
    ids = torch.arange(n).reshape(1, 1, n, 1)
    shares = torch.full((1, 1, n, 1), 0.5)
    read = TokensRead(ids, shares, shares, ids[..., :1], shares, shares, shares[..., 0])
    model = small_context("llama")
    prompt = Prompt(list(range(n)), list(HOSTILE_TOKENS), 0)
    lens = ne.JacobianLens({0: torch.eye(32)}, 1, None, HOSTILE_TOKENS[0])
    reading = ne.LensReading(model, prompt, "resid", lens, (0,), tuple(range(n)), (3,), read)
    monkeypatch.setattr(
        ne.LensReading, "texts_of", lambda self, token_ids: [HOSTILE_TOKENS[each] for each in token_ids]
    )
    assert_harmless(reading._repr_html_())
    figure = reading.figure()
    assert_harmless(figure._snapshot)
    for row in (*figure.data[0].text, *figure.data[0].customdata):
        for label in row:
            assert_harmless(label)
            assert "$" not in label


def test_writes_have_a_scale_of_their_own_and_ranks_stand_to_the_right() -> None:
    reading = ne.lens(ne.load_model("tiny", device="cpu"), "And the LORD", of="heads", tokens=" Moses")
    html = reading._repr_html_()
    largest = float(reading.read.probabilities.max())
    assert largest < 0.1
    assert ne.ColourScale(0.0, largest).style(largest) in html  # the deepest colour is there
    assert html.count("text-align:right") >= reading.read.asked_ranks.numel()
    assert "rows: heads, the last on top; columns: the prompt&#x27;s tokens" in html
    assert reading.figure().data[0].zmax == pytest.approx(largest)
    assert reading.figure().layout.yaxis.title.text == "head"
    assert repr(reading) == (
        "<LensReading: Logit lens: what each head writes; tiny, 4 positions, layers 0–3, asked about ' Moses'>"
    )
