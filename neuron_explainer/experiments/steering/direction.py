"""A direction in the residual stream: one for any layer, or one for each of some layers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.experiments.steering.control_vectors import write_control_vector
from neuron_explainer.vocabulary.checks import LayersGiven, checked_layers, checked_text, whole_number
from neuron_explainer.wording import number_ranges


@dataclass(frozen=True, eq=False, repr=False)
class SteeringDirection:
    """A direction in the residual stream, with its length. `ne.steering_direction` makes one.

    Attributes:
        source: what it was made from, in words.
        usual_layers: the layers at which `ne.steer` uses it unless it is told others.
        by_layer: the direction of each layer, (d_model), float32 at least, on the CPU; of layers that are not in it,
            `anywhere`.
        anywhere: the direction of any layer; None if only those of `by_layer` are known.

    >>> import neuron_explainer as ne
    >>> direction = ne.steering_direction(ne.load_model("tiny"), "L2N5")
    >>> direction
    <SteeringDirection: what L2N5 writes; layer 2>
    """

    source: str
    usual_layers: tuple[int, ...]
    by_layer: Mapping[int, Float[Tensor, " d_model"]]
    anywhere: Float[Tensor, " d_model"] | None = None

    def at(self, layer: int) -> Float[Tensor, " d_model"]:
        """The direction of a layer.

        Raises:
            InvalidRequestError: it has none for that layer.
        """
        number = whole_number(layer)
        if number is None or number < 0:
            raise InvalidRequestError(f"layer is {shown(layer)}. Give a whole number from 0 on.")
        found = self.by_layer.get(number, self.anywhere)
        if found is None:
            raise InvalidRequestError(
                f"The direction is of layers {number_ranges(sorted(self.by_layer))}, not of layer {layer}. Choose "
                "among these."
            )
        return found

    def with_unit_length(self) -> SteeringDirection:
        """The same direction with length 1 in every layer, so that strengths are lengths.

        Raises:
            InvalidRequestError: it is 0 in a layer.
        """
        return SteeringDirection(
            f"{self.source}, with length 1",
            self.usual_layers,
            {layer: unit(vector, layer) for layer, vector in self.by_layer.items()},
            None if self.anywhere is None else unit(self.anywhere, None),
        )

    def save(self, path: str | os.PathLike[str], *, layers: LayersGiven = None, model_hint: str = "unknown") -> None:
        """Write it as a GGUF control-vector file, which llama.cpp and `ne.steering_direction` read.

        Args:
            path: the file.
            layers: which layers are written, from 1 on: in such a file the first layer (0) has none. None: the usual
                ones.
            model_hint: the name of the model's architecture in llama.cpp, such as "llama", `controlvector.model_hint`.

        Raises:
            InvalidRequestError: a layer is 0, or it has none for a layer.
            UnsupportedLocationError: `path` is not a local path.
            OSError: the system refuses to write there.
        """
        chosen = self.usual_layers if layers is None else checked_layers("layers", layers)
        by_layer = {layer: self.at(layer) for layer in chosen}
        write_control_vector(path, by_layer, checked_text("model_hint", model_hint))

    def __repr__(self) -> str:
        several = "" if len(self.usual_layers) == 1 else "s"
        return f"<SteeringDirection: {self.source}; layer{several} {number_ranges(self.usual_layers)}>"


def unit(vector: Float[Tensor, " d_model"], layer: int | None) -> Float[Tensor, " d_model"]:
    """A direction with length 1.

    Raises:
        InvalidRequestError: it is 0.
    """
    largest = vector.abs().amax()
    if not float(largest) > 0:
        where = "" if layer is None else f" in layer {layer}"
        raise InvalidRequestError(f"The direction is 0{where}, so it points nowhere.")
    scaled = vector / largest  # squares of very large or small numbers have no float
    return scaled / torch.linalg.vector_norm(scaled)
