"""What a viewer is asked to show, and the size of the dataset that bounds it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Literal, SupportsIndex

from neuron_explainer.activations.derived_scalars.indices import DIMENSIONS_BY_NODE_TYPE, NodeIndex
from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.activations.neuron_ids import checked_index
from neuron_explainer.errors import InvalidIndexError
from neuron_explainer.views.component_kinds import component_kind
from neuron_explainer.vocabulary.checks import check_covered
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.wording import without_credentials


@dataclass(frozen=True, repr=False)
class NeuronChoice:
    """One neuron, head or latent that a viewer is asked to show.

    Attributes:
        dataset: the dataset's name, address or folder; or the model's name.
        dst: the derived scalar type of the activations.
        layer: the layer, from 0; a whole number, or digits as text.
        neuron: the neuron, head or latent in the layer, from 0; the same types.
        texts: the texts to compute activations on; empty for a stored record.

    Raises:
        InvalidRequestError: the layer or the neuron is not a whole number from 0 on.
    """

    dataset: str
    dst: DerivedScalarType
    layer: int
    neuron: int
    texts: tuple[str, ...] = ()

    if TYPE_CHECKING:  # NumPy and torch integers are taken as well

        def __init__(
            self,
            dataset: str,
            dst: DerivedScalarType,
            layer: SupportsIndex,
            neuron: SupportsIndex,
            texts: tuple[str, ...] = (),
        ) -> None: ...

    def __post_init__(self) -> None:
        for name in ("layer", "neuron"):
            object.__setattr__(self, name, checked_index(name, getattr(self, name), digits=True))

    def __repr__(self) -> str:  # without the credentials that an address may contain
        values = {each.name: getattr(self, each.name) for each in fields(self)} | {"dataset": self.dataset_shown}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in values.items())})"

    def __str__(self) -> str:
        return f"layer {self.layer}, {component_kind(self.dst)} {self.neuron} of {self.dataset_shown}"

    @property
    def node(self) -> NodeIndex | None:
        """The component, at all tokens; None if it is not a node, such as one of a scalar without components."""
        node_type = self.dst.node_type
        axes = DIMENSIONS_BY_NODE_TYPE[node_type]
        layer = None if self.dst.has_no_layers else self.layer
        whole: list[Literal["All"]] = ["All"] * (len(axes) - 1)
        try:
            return NodeIndex(node_type, layer, (*whole, self.neuron))
        except InvalidIndexError:
            return None

    @property
    def name(self) -> str | None:
        """The component's name, such as L5N131; None if it is not a node."""
        return None if self.node is None else str(NodeName.of(self.node).whole())

    @property
    def dataset_shown(self) -> str:
        """The dataset as people see it: an address without credentials."""
        return without_credentials(self.dataset)


@dataclass(frozen=True)
class DatasetSize:
    """The layers of a dataset, and the number of components in each; None if unknown."""

    layers: Sequence[int] | None
    n_components: int | None

    def check(self, choice: NeuronChoice) -> None:
        """Check that the dataset has the layer and the neuron.

        Raises:
            InvalidRequestError: the layer or the neuron is outside the dataset.
        """
        if self.layers is not None:
            check_covered("layer", choice.layer, self.layers, choice.dataset)
        if self.n_components is not None:
            check_covered(component_kind(choice.dst), choice.neuron, range(self.n_components), choice.dataset)

    def moved(self, choice: NeuronChoice, step: int) -> NeuronChoice:
        """The previous (step -1) or next (step 1) neuron, also across layers; the same one at an end."""
        neuron = choice.neuron + step
        if neuron >= 0 and (self.n_components is None or neuron < self.n_components):
            return replace(choice, neuron=neuron)
        if self.layers is None or self.n_components is None or choice.layer not in self.layers:
            return choice
        position = self.layers.index(choice.layer) + step
        if not 0 <= position < len(self.layers):
            return choice
        return replace(choice, layer=self.layers[position], neuron=0 if step > 0 else self.n_components - 1)

    def moved_layer(self, choice: NeuronChoice, step: int) -> NeuronChoice:
        """The same number in the next layer (step 1), or the one before (step -1); the same one at an end."""
        layers = [choice.layer + step] if self.layers is None else self.layers
        beyond = [layer for layer in layers if layer >= 0 and (layer - choice.layer) * step > 0]
        nearest = min(beyond, key=lambda layer: abs(layer - choice.layer), default=choice.layer)
        return replace(choice, layer=nearest)

    def with_layer(self, choice: NeuronChoice) -> NeuronChoice:
        """The choice in the nearest layer that the dataset has."""
        if not self.layers or choice.layer in self.layers:
            return choice
        return replace(choice, layer=min(self.layers, key=lambda layer: abs(layer - choice.layer)))

    def nearest(self, choice: NeuronChoice) -> NeuronChoice:
        """The choice in the nearest layer that the dataset has, and if its number is too large, the last one there."""
        choice = self.with_layer(choice)
        last = choice.neuron if self.n_components is None else self.n_components - 1
        return replace(choice, neuron=min(choice.neuron, last))
