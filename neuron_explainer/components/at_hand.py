"""What a component can be looked at with: a model, its autoencoders, a dataset of records, explanations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from neuron_explainer.activations.derived_scalars.names.kinds import NodeKind
from neuron_explainer.errors import InvalidRequestError, NotAtHandError, shown
from neuron_explainer.vocabulary.checks import check_covered, checked_layer
from neuron_explainer.wording import counted

if TYPE_CHECKING:  # a record alone is shown without torch
    from neuron_explainer.activations.derived_scalars.config import DstConfig
    from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
    from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
    from neuron_explainer.models.model_context import ModelContext

_MODEL_OF_EMBEDDED = "tiny"


@dataclass(frozen=True)
class AtHand:
    """The sources of a component; each is None where the caller gave none.

    Attributes:
        given: the model and its autoencoders.
        dataset: the name, address or folder of a neuron dataset.
        explanations: the name, address or folder of published explanations.
        is_embedded: whether the dataset is the one that comes with this library, whose model does, too.
        prepend_bos: whether texts begin with the beginning-of-sequence token; None: as the model's tokenizer does.
    """

    given: DstConfig | None = None
    dataset: str | None = None
    explanations: str | None = None
    is_embedded: bool = False
    prepend_bos: bool | None = None

    @property
    def has_model(self) -> bool:
        """Whether `config` gives a model."""
        return self.given is not None or self.is_embedded

    def config(self, asked: str) -> DstConfig:
        """The model with its autoencoders. The embedded dataset's model is loaded when it is first needed.

        Args:
            asked: what needs it, such as "L5N131.writes()".

        Raises:
            NotAtHandError: the component has no model.
        """
        if self.given is not None:
            return self.given
        if not self.is_embedded:
            raise NotAtHandError(asked, "model", "a model")
        return self._embedded

    @cached_property
    def _embedded(self) -> DstConfig:
        from neuron_explainer.activations.derived_scalars.config import DstConfig
        from neuron_explainer.models.checkpoints.load_model import load_model

        return DstConfig(model_context=load_model(_MODEL_OF_EMBEDDED))

    def model(self, asked: str) -> ModelContext:
        """The model.

        Raises:
            NotAtHandError: the component has no model.
        """
        return self.config(asked).get_model_context()

    def bound(self, asked: str) -> BoundConfig:
        """The model with its autoencoders, as the derivers of scalars take it.

        Raises:
            NotAtHandError: the component has no model.
        """
        from neuron_explainer.attribution.computing.passes import Setting
        from neuron_explainer.attribution.tracing.asking import bound_of

        return bound_of(Setting(self.config(asked), (), ()))


def check_in_model(config: DstConfig, name: NodeName) -> None:
    """Refuse a component that the model does not have. The number of a latent is checked where its autoencoder is used.

    Raises:
        InvalidRequestError: it is so.
    """
    context = config.get_model_context()
    check_in_range(name, *_sizes(context, name.kind), context.model_name)


def _sizes(context: ModelContext, kind: NodeKind) -> tuple[int, int | None]:
    """A model's layers, and its components of a kind in each; None of latents."""
    return context.n_layers, {NodeKind.HEAD: context.n_attention_heads, NodeKind.NEURON: context.n_neurons}.get(kind)


def check_model_of_dataset(config: DstConfig, kind: NodeKind, sizes: tuple[int | None, int | None], name: str) -> None:
    """Refuse a model beside the dataset of another: what its neurons write would be told of others.

    Args:
        config: the model.
        kind: what the dataset has records of.
        sizes: how many layers the dataset's model has, and components in each; None where it is unknown.
        name: the dataset's name.

    Raises:
        InvalidRequestError: the sizes differ. The number of latents is not compared.
    """
    context = config.get_model_context()
    own = _sizes(context, kind)
    if all(None in pair or pair[0] == pair[1] for pair in zip(own, sizes, strict=True)):
        return

    def words(n_layers: int | None, n_components: int | None) -> str:
        layers = "" if n_layers is None else counted(n_layers, "layer")
        return layers if n_components is None else f"{layers} of {counted(n_components, kind.value)}".strip()

    raise InvalidRequestError(
        f"{shown(name, 200)} is of a model with {words(*sizes)}, and {context.model_name} has {words(*own)}. Give the "
        "dataset's own model."
    )


def check_in_range(name: NodeName, n_layers: int | None, n_components: int | None, subject: str) -> None:
    """Refuse a component whose layer or number is out of range.

    Args:
        name: the component.
        n_layers: how many layers there are; None: unknown.
        n_components: how many components of its kind each layer has; None: unknown.
        subject: what has them: a model's name, or a dataset's.

    Raises:
        InvalidRequestError: it is so.
    """
    component = name.to_neuron_id()
    if n_layers is not None:
        checked_layer(component.layer_index, n_layers, subject)
    if n_components is not None:
        where = f"Layer {component.layer_index} of {subject}"
        check_covered(name.kind.value, component.neuron_index, range(n_components), where)
