"""Two answers side by side, node by node."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsIndex

from neuron_explainer.activations.derived_scalars.engine.prompts import Prompt, read_prompt
from neuron_explainer.activations.derived_scalars.names.kinds import KindGiven
from neuron_explainer.attribution.answering import answer
from neuron_explainer.attribution.files.saved_inquiry import SavedInquiry
from neuron_explainer.attribution.numbers_and_tables import AttributionTables
from neuron_explainer.attribution.question.question import Question, read_question
from neuron_explainer.attribution.question.second_prompts import prepend_bos_as_in
from neuron_explainer.attribution.tables.columns import COLUMNS, NodeColumn
from neuron_explainer.attribution.tables.filters import NamesGiven, columns_given
from neuron_explainer.attribution.tables.nodes import by_several, node_rows, table_of_nodes
from neuron_explainer.errors import InvalidRequestError, PromptError
from neuron_explainer.storage.atomic import write_bytes_atomically
from neuron_explainer.storage.locations import path_text
from neuron_explainer.vocabulary.checks import checked_number

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Comparison:
    """Two answers about prompts of as many tokens: the same question about each. Differences are first minus second.

    Attributes:
        first, second: the answers.

    >>> import neuron_explainer as ne
    >>> why = ne.attribute(ne.load_model("tiny"), "And the LORD said unto", " Moses", " her")
    >>> both = why.compare("And the king said unto")
    >>> bool(abs(both.parts()["difference"].sum() - both.difference) < 1e-4)
    True
    """

    first: AttributionTables
    second: AttributionTables

    @property
    def difference(self) -> float:
        """The first answer's value minus the second's."""
        return self.first.value - self.second.value

    def next_tokens(self, n: SupportsIndex = 10) -> pandas.DataFrame:
        """The n likeliest tokens of either prompt, and those that are asked about.

        Columns: `token`, `token_id`, `probability_1`, `probability_2`, `logit_1`, `logit_2`, `difference` (of logits),
        `asked`; by difference, largest first.
        """
        either = self._next_token_ids(checked_number("n", n))
        first, second = (_logits(why, either) for why in (self.first, self.second))
        rows: list[dict[str, Any]] = [
            {
                "token": text,
                "token_id": token,
                "probability_1": first[token][1],
                "probability_2": second[token][1],
                "logit_1": first[token][0],
                "logit_2": second[token][0],
                "difference": first[token][0] - second[token][0],
                "asked": self.first.inquiry.asked_tokens.get(token, ""),
            }
            for token, text in zip(either, self.first.texts_of(either), strict=True)
        ]
        from neuron_explainer.activations.token_table import TokenTable

        rows.sort(key=lambda row: -row["difference"])
        return TokenTable(rows)

    def _next_token_ids(self, n: int) -> list[int]:
        tables = [why.next_tokens(n) for why in (self.first, self.second)]
        return list(dict.fromkeys(token for table in tables for token in table["token_id"].tolist()))

    def parts(self) -> pandas.DataFrame:
        """The parts of both: `part`, `layer`, `direct_effect_1`, `direct_effect_2`, `difference`."""
        import pandas

        first, second = (pandas.DataFrame(why.parts()) for why in (self.first, self.second))
        keys = [key for key in ("answer", "predicting_position", "part", "layer") if key in first.columns]
        # Parts that stand in one answer alone, such as a bias of a layer that the other has set, count as 0.
        joined = first.merge(second, on=keys, how="outer", suffixes=("_1", "_2"), sort=False)
        joined = joined.fillna({"direct_effect_1": 0.0, "direct_effect_2": 0.0})
        order = {key: place for place, key in enumerate(_keys(first, keys))}
        joined["_order"] = [order.get(key, len(order)) for key in _keys(joined, keys)]
        joined = joined.sort_values("_order", kind="stable").drop(columns="_order").reset_index(drop=True)
        return joined.assign(difference=joined["direct_effect_1"] - joined["direct_effect_2"])

    def nodes(
        self,
        n: SupportsIndex = 50,
        by: NodeColumn | str | Iterable[NodeColumn | str] = NodeColumn.TOTAL_EFFECT,
        *,
        kinds: KindGiven | Iterable[KindGiven] | None = None,
        layers: SupportsIndex | Iterable[SupportsIndex] | None = None,
        tokens: SupportsIndex | str | Iterable[SupportsIndex | str] | None = None,
        names: NamesGiven = None,
    ) -> pandas.DataFrame:
        """The n nodes whose number in a column differs most between the two, largest difference first.

        Columns: `name`, `token_1`, `token_2`, `attended_to_1`, `attended_to_2`, each of `activation`, `write_norm`,
        `direct_effect` and `total_effect` with `_1` and `_2`, and `difference` (of the column asked for; of several, of
        the first one). The candidates are the nodes with the largest numbers in either answer, ten times as many as are
        shown.

        Args and Raises: as those of `Attribution.nodes`. Tokens that are given as text are those of the first prompt.
        """
        columns_asked, number = columns_given(by), checked_number("n", n)
        both = (self.first, self.second)
        chosen = self.first.chosen_nodes(kinds, layers, tokens, names)
        candidates: dict[Any, None] = {}
        for why in both:
            ranked = by_several(why.groups, [1.0], columns_asked, max(10 * number, 100), chosen)
            candidates.update(dict.fromkeys(each.node for each in ranked))
        nodes = list(candidates)
        first, second = (node_rows(why.groups[0], nodes, why.effects[0], 1.0) for why in both)
        rows = [_side_by_side(*sides, columns_asked[0]) for sides in zip(first, second, strict=True)]
        order = _most_different(first, second, columns_asked, number)
        columns = ["name", "token_1", "token_2", "attended_to_1", "attended_to_2"]
        columns += [f"{each}_{side}" for each in COLUMNS for side in (1, 2)]
        return table_of_nodes(
            [rows[place] for place in order], [nodes[place] for place in order], [*columns, "difference"]
        )

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Write the page that a notebook shows to an HTML file of its own, which needs nothing else."""
        from neuron_explainer.views.attribution.comparison import comparison_document

        write_bytes_atomically(path_text(path), comparison_document(self).encode())

    def __repr__(self) -> str:
        return (
            f"<Comparison: {self.first.inquiry.title} = {self.first.value:.4g} and {self.second.value:.4g}, "
            f"difference {self.difference:.4g}>"
        )

    def _repr_html_(self) -> str:
        from neuron_explainer.views.attribution.comparison import comparison_html

        return comparison_html(self)


def _most_different(
    first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]], columns: Sequence[str], n: int
) -> list[int]:
    """The places of the n rows that differ most in each column, by their difference in the first one."""
    by_column = [[abs(_difference(*sides, column)) for sides in zip(first, second, strict=True)] for column in columns]
    chosen = {
        place
        for differences in by_column
        for place in sorted(range(len(differences)), key=lambda place: -differences[place])[:n]
    }
    return sorted(sorted(chosen), key=lambda place: -by_column[0][place])


def _difference(first: Mapping[str, Any], second: Mapping[str, Any], column: str) -> float:
    def number(row: Mapping[str, Any]) -> float:
        return 0.0 if row[column] is None or row[column] != row[column] else float(row[column])

    return number(first) - number(second)


def _keys(table: pandas.DataFrame, columns: list[str]) -> list[tuple[str, ...]]:
    """Each row's entries in some columns, as text; what is missing is the same in every column."""
    texts = table[columns].astype("string").fillna("")
    return list(texts.itertuples(index=False, name=None))


def _side_by_side(first: Mapping[str, Any], second: Mapping[str, Any], column: str) -> dict[str, Any]:
    sides = {
        f"{name}_{side}": row[name]
        for name in ("token", "attended_to", *COLUMNS)
        for side, row in ((1, first), (2, second))
    }
    return {"name": first["name"], **sides, "difference": _difference(first, second, column)}


def _logits(why: AttributionTables, token_ids: list[int]) -> dict[int, tuple[float, float]]:
    """The uncapped logit and the probability of tokens."""
    from neuron_explainer.attribution.tables.next_tokens import next_token_rows, row_of_next_tokens

    rows = next_token_rows(
        row_of_next_tokens(why.effects[0], why.inquiry), why.effects[0].logits_softcap, 1, dict.fromkeys(token_ids, "")
    )
    return {row["token_id"]: (row["logit"], row["probability"]) for row in rows}


def compared(why: AttributionTables, other: Any) -> Comparison:
    """The answer beside that to the same question about another prompt, or beside a given answer.

    Raises:
        PromptError: the prompts differ in their number of tokens.
        InvalidRequestError: answers of several tokens, or a trace and a question, are compared.
    """
    if why.inquiry.is_by_answer:
        raise InvalidRequestError(_OF_SINGLE_TOKENS)
    second = other if isinstance(other, AttributionTables) else _about(why, other)
    if second.inquiry.is_by_answer:
        raise InvalidRequestError(_OF_SINGLE_TOKENS)
    if (why.effects[0].logits is None) is not (second.effects[0].logits is None):
        raise InvalidRequestError("One answer is a trace, and the other one is not. Compare two of a kind.")
    _check_lengths(why, second.effects[0].prompt)
    if second is other:
        _check_shapes(why, second)
    return Comparison(why, second)


_OF_SINGLE_TOKENS = "Only questions about single tokens can be compared, not answers of several."


def _check_lengths(why: AttributionTables, second: Prompt) -> None:
    counts = [len(prompt.token_ids) for prompt in (why.effects[0].prompt, second)]
    if counts[0] != counts[1]:
        raise PromptError(
            f"The prompts have {counts[0]} and {counts[1]} tokens. Compare prompts of equal length, token by token."
        )


def _check_shapes(*both: AttributionTables) -> None:
    first, second = ({(group.node_type, group.layer): group.total.shape[-1] for group in why.groups[0]} for why in both)
    if any(second.get(group, size) != size for group, size in first.items()):
        raise InvalidRequestError("The answers are of models of different sizes, so their nodes are not the same ones.")


def _about(why: AttributionTables, prompt: Any) -> AttributionTables:
    setting, inquiry = why.asked_setting, why.inquiry
    if isinstance(inquiry, SavedInquiry):
        inquiry.refuse()
    if not isinstance(inquiry, Question):
        raise InvalidRequestError(
            "A trace is compared with another trace: trace both prompts, and compare the answers."
        )
    first = why.effects[0].prompt
    prepend_bos = prepend_bos_as_in(first, why.model, prompt)
    _check_lengths(why, read_prompt(why.model, prompt, prepend_bos))
    targets, distractors = (
        [list(each.token_ids) for each in side] or None for side in (inquiry.targets, inquiry.distractors)
    )
    question = read_question(why.model, prompt, targets, distractors, inquiry.metric, inquiry.positions, prepend_bos)
    return answer(type(why), setting, question, why.history)
