"""The table of derived scalars, for people who look for one."""

from typing import TYPE_CHECKING

from neuron_explainer.vocabulary.checks import checked_type
from neuron_explainer.vocabulary.derived_scalar_rows import Requirement
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

if TYPE_CHECKING:
    import pandas


def derived_scalars(search: str | None = None) -> "pandas.DataFrame":
    """All derived scalars as a table, one row each, in the order of `DerivedScalarType`.

    Args:
        search: words, in any order and case; only rows that contain all of them, in any column, are given, those
            whose names contain most of them first. "attn" and "attention" are the same word. None: all rows.

    Returns:
        The columns are `name`; `meaning` (its formulas are explained by `DerivedScalarType`); `axes` (of one layer's
        result for one prompt); `layers` (which layers have results); `location` (where in its layer it arises, "" if
        that depends or there is no layer); `requires` (what is needed besides a model and a prompt); and `source`
        (where the formula comes from). All are strings. A front end shows names and meanings in full.

    Raises:
        InvalidRequestError: `search` is not a text.

    >>> import neuron_explainer as ne
    >>> ne.derived_scalars("neuron direct effect").name.tolist()[:1]
    ['MLP_WRITE_TO_FINAL_RESIDUAL_GRAD']
    """
    from neuron_explainer.vocabulary.scalar_table import ScalarTable

    words = [] if search is None else _plain(checked_type("search", search, str)).split()
    rows = [
        {
            "name": dst.name,
            "meaning": dst.meaning,
            "axes": " × ".join(dimension.label for dimension in dst.shape_spec_per_token_sequence),
            "layers": dst.layers.value,
            "location": "" if dst.location_within_layer is None else dst.location_within_layer.value,
            "requires": ", ".join(_required(dst)),
            "source": dst.source.value,
        }
        for dst in DerivedScalarType
    ]
    found = [row for row in rows if all(word in _searched(row) for word in words)]
    found.sort(key=lambda row: _rank(_plain(row["name"]), words))
    return ScalarTable(found, columns=list(rows[0]))


def _plain(text: str) -> str:
    return text.lower().replace("_", " ").replace("attn", "attention")


def _searched(row: dict[str, str]) -> str:
    dst = DerivedScalarType[row["name"]]
    return _plain(" ".join([*row.values(), dst.node_type.value])) + " " + dst.value


def _rank(name: str, words: list[str]) -> tuple[int, int]:
    """First the names that contain most of the words; of these the shortest. Rows of equal rank keep their order."""
    n_found = sum(word in name.split() for word in words)
    return -n_found, len(name.split()) if n_found else 0


def _required(dst: DerivedScalarType) -> list[str]:
    required = [requirement.value for requirement in dst.requires]
    if dst.is_online:
        required.append("autoencoders (which run within the forward pass)")
    elif dst.autoencoder_node_type is not None or Requirement.TRACED_LATENT in dst.requires:
        required.append("autoencoders")
    return required
