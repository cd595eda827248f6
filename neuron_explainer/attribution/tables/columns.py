"""The columns of numbers in a table of nodes."""

from neuron_explainer.vocabulary.named_members import NamedMembers


class NodeColumn(NamedMembers):
    """The columns that a node table can be ranked by, in magnitude."""

    ACTIVATION = "activation"
    WRITE_NORM = "write_norm"
    DIRECT_EFFECT = "direct_effect"
    TOTAL_EFFECT = "total_effect"


COLUMNS: tuple[str, ...] = tuple(column.value for column in NodeColumn)
EFFECTS: tuple[str, ...] = tuple(column for column in COLUMNS if column.endswith("_effect"))
