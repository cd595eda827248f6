"""What lists and the search say about a component: a row of short texts and numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.components.batches.with_tables import N_TOKENS, TabledComponent
from neuron_explainer.errors import NeuronExplainerError
from neuron_explainer.views.token_pairs import PairsOfText, strongest_pairs
from neuron_explainer.views.token_text import token_label
from neuron_explainer.wording import without_steering

_LONGEST_TOKEN, _LONGEST_EXPLANATION, _MOST_TOKENS = 24, 240, 6


@dataclass(frozen=True)
class Row:
    """What a list says about a component.

    Attributes:
        index: its number in the layer.
        explanation: its best explanation; empty without one.
        top: the tokens where it is most active.
        written: the tokens whose logits it raises most.
        highest: its largest activation; None if it is unknown.
        frequency: the share of tokens where it is above 0; None if it is unknown.
    """

    index: int
    explanation: str
    top: Sequence[str]
    written: Sequence[str]
    highest: float | None
    frequency: float | None


def row_of(component: TabledComponent) -> Row:
    """A component's row. What cannot be had is left empty; the component's page says why.

    Args:
        component: the component.
    """
    try:
        record = component.record
        highest, frequency = _finite(record.max_activation), _finite(record.activation_frequency)
        top = _tokens(_peak_tokens(component))
    except (NeuronExplainerError, OSError):
        highest = frequency = None
        top = []
    return Row(component.index, _explanation(component), top, _written(component), highest, frequency)


def rows_script(layer: int, rows: Iterable[Row]) -> bytes:
    """Rows as a script that hands them to the search.

    Args:
        layer: their layer.
        rows: the rows.
    """
    return _call("neRows", layer, [astuple(row) for row in rows])


def layers_script(kind: str, of_folder: int, chunks: dict[int, int]) -> bytes:
    """What the search must know before it has rows, as a script.

    Args:
        kind: the letter of the components' kind.
        of_folder: how many pages a folder has.
        chunks: how many files of rows each layer has.
    """
    return _call("neLayers", kind, of_folder, sorted(chunks.items()))


def _call(function: str, *values: object) -> bytes:
    texts = (json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False) for value in values)
    return f"{function}({','.join(texts)});\n".replace("<", "\\u003c").encode("utf-8", "replace")


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def _peak_tokens(component: TabledComponent) -> Iterable[str]:
    """The token at the peak of each top example; of pairs the token that attends."""
    for example in component.record.most_positive_activation_records:
        if example.max_activation is None:
            continue
        if component.record.is_by_token_pair:
            best = strongest_pairs(PairsOfText.of(example).matrix, 1)
            yield from (example.tokens[pair.attended_from] for pair in best)
        else:
            yield example.tokens[example.activations.index(max(example.activations))]


def _written(component: TabledComponent) -> list[str]:
    if component.kind is NodeKind.HEAD or "writes" not in component.tables:
        return []
    return _tokens(component.tables["writes"]["token"].tolist()[:N_TOKENS])


def _explanation(component: TabledComponent) -> str:
    try:
        text = next((" ".join(each.split()) for each in component.explanations if each.strip()), "")
    except (NeuronExplainerError, OSError):
        return ""
    return without_steering(_cut(text, _LONGEST_EXPLANATION))


def _tokens(tokens: Iterable[str]) -> list[str]:
    """Different tokens as short labels, in their order."""
    labels: dict[str, None] = {}
    for token in tokens:
        labels.setdefault(_cut(token_label(token[: 2 * _LONGEST_TOKEN]), _LONGEST_TOKEN))
        if len(labels) == _MOST_TOKENS:
            break
    return list(labels)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
