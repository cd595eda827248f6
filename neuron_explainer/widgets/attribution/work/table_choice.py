"""Which nodes the table shows, and in what order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.attribution.tables.columns import COLUMNS
from neuron_explainer.errors import InvalidRequestError, NodeNameError, shown
from neuron_explainer.vocabulary.checks import checked_number, checked_text

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.attribution.exploring.explorer import Explored

EVERY_COLUMN = "every column"
MOST_ROWS = 20_000
_FARTHEST = 10**9  # beyond any layer and token
KINDS = ("head", "neuron", "latent", "embedding")


@dataclass(frozen=True)
class TableChoice:
    """What the table shows.

    Attributes:
        n: how many nodes, the largest in magnitude, of each column that is ranked by.
        by: the column that is ranked by; `EVERY_COLUMN` for the union of all.
        kind: "head", "neuron", "latent" or "embedding"; None for all.
        layer: a layer; None for all.
        token: a position; None for all.
        name: a node's name, whose rows are shown; or a piece of the names that are shown.
        column: the column that sorts the rows; "" for the order of the ranking.
        is_descending: whether the largest comes first.
    """

    n: int = 10
    by: str = EVERY_COLUMN
    kind: str | None = None
    layer: int | None = None
    token: int | None = None
    name: str = ""
    column: str = ""
    is_descending: bool = True

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: object) -> TableChoice:
        """From JSON values, which are checked.

        Raises:
            InvalidRequestError: a value is not one that a table takes.
        """
        if not isinstance(values, Mapping):
            raise InvalidRequestError(f"table is {shown(values)}. Give an object, as state has it.")
        first = cls()
        unknown = sorted(set(map(str, values)) - set(first.to_json()))
        if unknown:
            known = ", ".join(first.to_json())
            raise InvalidRequestError(f"table has the unknown entry {shown(unknown[0])}. Choose from: {known}.")
        read = replace(first, **values)
        checked_number("table n", read.n)
        for name, value, kind in (
            ("by", read.by, str),
            ("kind", read.kind, str | None),
            ("layer", read.layer, int | None),
            ("token", read.token, int | None),
            ("name", read.name, str),
            ("column", read.column, str),
            ("is_descending", read.is_descending, bool),
        ):
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise InvalidRequestError(f"table {name} is {shown(value)}, which is of type {type(value).__name__}.")
        for name, place in (("layer", read.layer), ("token", read.token)):
            if place is not None:
                checked_number(f"table {name}", place, -_FARTHEST, at_most=_FARTHEST)
        checked_text("table name", read.name)
        checked_text("table column", read.column)
        if read.n > MOST_ROWS:
            raise InvalidRequestError(f"table n is {shown(read.n)}. A table shows at most {MOST_ROWS} of each column.")
        if read.by not in (EVERY_COLUMN, *COLUMNS):
            raise InvalidRequestError(f"table by is {shown(read.by)}. Choose one of: {', '.join(COLUMNS)}.")
        if read.kind is not None and read.kind not in KINDS:
            raise InvalidRequestError(f"table kind is {shown(read.kind)}. Choose one of: {', '.join(KINDS)}.")
        return read


def chosen_rows(explored: Explored, choice: TableChoice) -> pandas.DataFrame:
    """The rows that are chosen, sorted; of two prompts side by side, by difference.

    Raises:
        InvalidRequestError: the answer has no such layer or token.
        MisconfiguredError: a column needs the model, which is not there.
    """
    source = explored.why if explored.comparison is None else explored.comparison
    columns = _columns(explored) if choice.by == EVERY_COLUMN else [choice.by]
    name = choice.name.strip()
    is_node = _is_node(name)
    frame = source.nodes(
        choice.n,
        columns,
        kinds=choice.kind,
        layers=choice.layer,
        tokens=choice.token,
        names=name if is_node else None,
    )
    if name and not is_node:
        frame = frame[frame["name"].map(lambda each: name.lower() in each.lower()).astype(bool)]
    if explored.comparison is not None:
        frame = _by_difference(frame)
    if choice.column in frame.columns:
        frame = frame.sort_values(choice.column, ascending=not choice.is_descending, kind="stable")
    return frame


def _by_difference(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Nodes of two prompts, the largest difference first and beside the name; equal tokens have one column."""
    for name in ("token", "attended_to"):
        if frame[f"{name}_1"].equals(frame[f"{name}_2"]):
            frame = frame.drop(columns=[f"{name}_2"]).rename(columns={f"{name}_1": name})
    tokens = [name for name in frame.columns if name.startswith(("token", "attended_to"))]
    numbers = [name for name in reversed(COLUMNS) for name in (f"{name}_1", f"{name}_2")]
    order = frame["difference"].abs().argsort(kind="stable")[::-1]
    return frame.iloc[order][["name", *tokens, "difference", *numbers]]


def _columns(explored: Explored) -> list[str]:
    """All columns, total effects first; norms of writes only where the model is there."""
    has_model = explored.why.setting is not None
    return [name for name in reversed(COLUMNS) if has_model or name != "write_norm"]


def _is_node(name: str) -> bool:
    """Whether a text names one component; a piece of a name does not."""
    try:
        return NodeName.parse(name).component is not None if name else False
    except NodeNameError:
        return False
