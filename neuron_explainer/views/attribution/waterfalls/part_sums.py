"""The parts of an answer as terms of a sum: those of layers one by one, biases together, then what is left over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuron_explainer.attribution.attributions import Attributions
    from neuron_explainer.attribution.numbers_and_tables import AttributionTables

BIASES = "biases"


@dataclass(frozen=True)
class Term:
    """One term.

    Attributes:
        kind: the part: "attention", "MLP", "embedding"; `BIASES` for all biases together.
        layer: its layer; None where there is none.
        effect: its direct effect.
    """

    kind: str
    layer: int | None
    effect: float


@dataclass(frozen=True)
class PartSum:
    """A sum of parts.

    Attributes:
        answer: the answer that it is about; None if it is about all.
        terms: the terms in the order in which they are written, biases after the last layer.
        value: what they sum to, apart from the residue.
        residue: what they leave over of the value.
        weight: what the answer's own number is multiplied with to give the value.
    """

    answer: str | None
    terms: tuple[Term, ...]
    value: float
    residue: float
    weight: float = 1.0

    @property
    def by_kind(self) -> dict[str, float]:
        """The sum of each kind's terms over layers."""
        sums: dict[str, float] = {}
        for term in self.terms:
            sums[term.kind] = sums.get(term.kind, 0.0) + term.effect
        return sums


def part_sums(why: AttributionTables) -> list[PartSum]:
    """The sum of an answer; where answers of several tokens are compared, the sum of each."""
    rows = why.parts().to_dict("records")
    if len(why.effects) == 1:
        return [PartSum(None, _terms(rows), why.value, why.residue)]
    values: dict[str | None, float] = {}
    weights: dict[str | None, float] = {}
    for asked, effects in zip(why.inquiry.passes, why.effects, strict=True):
        values[asked.answer] = values.get(asked.answer, 0.0) + asked.coefficient * effects.value
        weights[asked.answer] = weights.get(asked.answer, 0.0) + asked.coefficient
    sums = []
    for answer, value in values.items():
        terms = _terms(row for row in rows if row["answer"] == answer)
        residue = value - sum(term.effect for term in terms)
        sums.append(PartSum(answer, terms, value, residue, weights[answer]))
    return sums


def mean_sum(several: Attributions) -> PartSum:
    """The sum of the means over several prompts."""
    n = len(several)
    terms = _terms(several.parts().to_dict("records"))
    return PartSum(None, terms, sum(several.values) / n, sum(several.residues) / n)


def _terms(rows: Iterable[Mapping[Any, Any]]) -> tuple[Term, ...]:
    """The terms of rows of a table of parts: those of one part and layer added, biases at the end."""
    sums: dict[tuple[str, int | None], float] = {}
    for row in rows:
        layer = row["layer"] if isinstance(row["layer"], int) else None  # pandas' NA
        key = (BIASES, None) if row["part"].endswith("bias") else (row["part"], layer)
        sums[key] = sums.get(key, 0.0) + row["direct_effect"]
    without_layer = [key for key in sums if key[1] is None and key not in _BEFORE_LAYERS]
    ordered = sorted(sums, key=lambda key: (key in without_layer, key in without_layer and key[0] != BIASES))
    return tuple(Term(kind, layer, sums[kind, layer]) for kind, layer in ordered)


_BEFORE_LAYERS = [("embedding", None), ("positions", None)]
