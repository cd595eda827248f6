"""A DerivedScalarStore as a pandas DataFrame."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from neuron_explainer.activations.derived_scalars.indexing import DerivedScalarIndex
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.wording import without_steering

if TYPE_CHECKING:
    import pandas

COLUMNS = (
    "name",
    "value",
    "derived_scalar",
    "layer",
    "component",
    "token_index",
    "token",
    "attended_to_index",
    "attended_to",
)
_WHOLE_NUMBERS = ("layer", "token_index", "attended_to_index")


def table_of(
    values: Sequence[float], indices: Sequence[DerivedScalarIndex], tokens: Sequence[str]
) -> "pandas.DataFrame":
    """One row for each number, with its display name and tokens; columns that do not apply are NA."""
    from neuron_explainer.activations.token_table import TokenTable  # pandas takes its time to import

    tokens = [without_steering(token) for token in tokens]
    rows = [_row(value, index, tokens) for value, index in zip(values, indices, strict=True)]
    return TokenTable(rows, columns=list(COLUMNS)).astype(dict.fromkeys(_WHOLE_NUMBERS, "Int64"))


def _row(value: float, index: DerivedScalarIndex, tokens: Sequence[str]) -> dict[str, object]:
    name = NodeName.of(index).resolved(tokens)
    token, attended_to = name.token_index, name.attended_to_index
    return {
        "name": str(name),
        "value": value,
        "derived_scalar": index.dst.value,
        "layer": index.layer_index,
        "component": name.component_name,
        "token_index": token,
        "token": None if token is None else tokens[token],
        "attended_to_index": attended_to,
        "attended_to": None if attended_to is None else tokens[attended_to],
    }
