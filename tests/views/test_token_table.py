"""Tables of tokens in a notebook."""

import pandas as pd
import torch

import neuron_explainer as ne
from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.html_reading import Element, assert_harmless
from neuron_explainer.activations.activations import ActivationRecord, NeuronId, NeuronRecord
from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.vocabulary.nodes import PassType

TOKENS = ["$x$", " the", "\n", "a\u202eb", "<b>"]


def _store() -> ne.DerivedScalarStore:
    pairs: dict[int | None, torch.Tensor] = {0: torch.randn(5, 5, 2, generator=torch.Generator().manual_seed(0))}
    neurons: dict[int | None, torch.Tensor] = {0: torch.ones(5, 3)}
    return ne.DerivedScalarStore(
        {
            (ne.DerivedScalarType.ATTN_QK_PROBS, PassType.FORWARD): pairs,
            (ne.DerivedScalarType.MLP_POST_ACT, PassType.FORWARD): neurons,
        },
        TOKENS,
    )


def _table(frame: pd.DataFrame) -> Element:
    html = frame._repr_html_()  # type: ignore[operator]
    (table,) = assert_harmless(html).find("table")
    return table


def _columns(table: Element) -> list[str]:
    return [cell.text for cell in table.find("thead")[0].find("th")[1:]]


def test_tokens_are_text_and_no_mathematics() -> None:
    for frame in (
        _store().to_dataframe(dsts="attn_qk_probs"),
        NeuronRecord(
            NeuronId(0, 1), most_positive_activation_records=[ActivationRecord(TOKENS, [0.0] * 5)]
        ).to_dataframe(),
    ):
        table = _table(frame)
        assert {"tex2jax_ignore", "mathjax_ignore"} <= set(table.attributes["class"].split())
        for text in ("$x$", "·the", "↵", "a\\u202eb", "<b>"):
            assert text in table.text
        for shown in (table.text, str(frame)):
            assert "\u202e" not in shown


def test_the_attended_token_is_a_column_and_empty_columns_are_not() -> None:
    pairs = _table(_store().to_dataframe(3, dsts="attn_qk_probs"))
    assert _columns(pairs) == list(_store().to_dataframe(1).columns)
    neurons = _columns(_table(_store().to_dataframe(3, dsts="mlp_post_act")))
    assert "token" in neurons
    assert "attended_to" not in neurons


def test_selections_are_such_tables_and_data_stay() -> None:
    frame = _store().to_dataframe(dsts="mlp_post_act")
    assert "ne-table" in frame.head(2)._repr_html_()  # type: ignore[operator]
    assert "ne-table" in frame[["name", "token"]]._repr_html_()  # type: ignore[operator]
    assert isinstance(frame, pd.DataFrame)
    assert set(frame["token"]) == {"$x$", " the", "\n", "a\\u202eb", "<b>"}
    assert pd.api.types.is_integer_dtype(frame["layer"])
    assert _table(frame.iloc[:0]) is not None
    assert len(_table(frame).find("tr")) == 1 + len(frame)


def test_pandas_options_hold() -> None:
    frame = _store().to_dataframe(dsts="mlp_post_act")
    assert "columns</p>" not in frame._repr_html_()  # type: ignore[operator]
    with pd.option_context("display.max_rows", 4):
        assert len(_table(frame).find("tr")) == 6
        assert "columns</p>" in frame._repr_html_()  # type: ignore[operator]
    with pd.option_context("display.notebook_repr_html", False):
        assert frame._repr_html_() is None  # type: ignore[operator]


def test_tokens_of_two_prompts_are_labels_and_missing_ones_are_empty() -> None:
    frame = TokenTable(
        {"name": ["a", "b"], "attended_to_1": [" the", None], "token_2": pd.Series([" a", None], dtype=object)}
    )
    cells = [cell.text for cell in _table(frame).find("td")]
    assert cells == ["a", "·the", "·a", "b", "", ""]


def test_hostile_tokens_are_harmless() -> None:
    record = NeuronRecord(
        NeuronId(0, 1),
        most_positive_activation_records=[ActivationRecord(HOSTILE_TOKENS, [0.0] * len(HOSTILE_TOKENS))],
    )
    assert_harmless(record.to_dataframe()._repr_html_())  # type: ignore[operator]
