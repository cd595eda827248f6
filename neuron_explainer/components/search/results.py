"""The components that a search finds, and their table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Found:
    """The best components of a layer, the highest score first, and how many were looked at."""

    layer: int
    component: NDArray[np.int64]
    activation: NDArray[np.float64]
    score: NDArray[np.float64]
    place: NDArray[np.int64]
    n_looked_at: int

    @classmethod
    def best(
        cls,
        layer: int,
        activation: NDArray[np.float64],
        score: NDArray[np.float64],
        place: NDArray[np.int64],
        n: int,
    ) -> Found:
        """The n with the highest scores. Where a score is not finite, the component is left out."""
        known = np.flatnonzero(np.isfinite(score))
        best = known[np.argsort(-score[known], kind="stable")[:n]]
        return cls(layer, best, activation[best], score[best], place[best], len(known))


def found_table(
    found: Sequence[Found],
    n: int,
    dst: DerivedScalarType,
    described: Callable[[int], dict[str, Any]],
    columns: Sequence[str] = ("token", "position"),
    **attributes: Any,
) -> pandas.DataFrame:
    """The n best of all layers as a table.

    Args:
        found: the best of each layer.
        n: how many rows the table has, at most.
        dst: the scalar, whose components they are.
        described: what further columns say of a place.
        columns: the names of these columns.
        attributes: the table's `attrs`.
    """
    rows = sorted(
        (-score, each.layer, component, activation, place)
        for each in found
        for score, component, activation, place in zip(
            each.score.tolist(), each.component.tolist(), each.activation.tolist(), each.place.tolist(), strict=True
        )
    )[:n]
    table = TokenTable(
        [
            {
                "name": str(NodeName.of(f"{layer}:{component}", kind=dst.node_type)),
                "layer": layer,
                "component": component,
                "activation": activation,
                "score": -lowered,
            }
            | described(place)
            for lowered, layer, component, activation, place in rows
        ],
        columns=["name", "layer", "component", "activation", "score", *columns],
    )
    table.attrs.update(attributes, dst=dst.value, n_components=sum(each.n_looked_at for each in found))
    return table
