"""A model as the source of a viewer's records: it computes them on the user's texts."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.models.chats.messages import is_text_or_chat
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of
from neuron_explainer.widgets.neurons.choices import DatasetSize, NeuronChoice
from neuron_explainer.widgets.neurons.live_model import LiveModel

if TYPE_CHECKING:
    from neuron_explainer.components.component import Component
    from neuron_explainer.models.model_context import ModelContext


class ModelSource:
    """A model that computes records on the user's texts.

    Args:
        live: the model, with its autoencoders.
        dst: the derived scalar type to show first, or its name; None: that of the autoencoders' latents, or without
            autoencoders MLP neurons' activations.

    Raises:
        UnknownNameError: the derived scalar type is unknown.
        MisconfiguredError: the autoencoders are not of this model.
    """

    def __init__(self, live: LiveModel, dst: DerivedScalarType | str | None) -> None:
        self._live = live
        self._model = live.context()
        types = [*live.types_of_latents(), DerivedScalarType.MLP_POST_ACT, DerivedScalarType.ATTN_WRITE_NORM]
        first_type = types[0] if dst is None else derived_scalar_type_of(dst)
        self._types = list(dict.fromkeys([first_type, *types]))

    def first_choice(self) -> tuple[str, DerivedScalarType]:
        """The model's name and the derived scalar type that the constructor was given."""
        return self._model.model_name, self._types[0]

    def datasets(self) -> list[str]:
        """The model's name."""
        return [self._model.model_name]

    def types(self, dataset: str) -> list[DerivedScalarType]:
        """The first type, the autoencoders' latents, MLP neurons' activations, and the norms of heads' writes."""
        return self._types

    def size(self, dataset: str, dst: DerivedScalarType) -> DatasetSize:
        """The model's layers, and the length of the type's last axis; of latents, those of the autoencoders."""
        of_latents = self._live.size_of_latents(dst)
        if of_latents is not None:
            return of_latents
        return DatasetSize(range(self._model.n_layers), self._model.get_dim_size(dst.shape_spec_per_token_sequence[-1]))

    def include(
        self, dataset: str | os.PathLike[str], dst: DerivedScalarType | None = None
    ) -> tuple[str, DerivedScalarType]:
        """The model's name and its first type.

        Raises:
            InvalidRequestError: `dataset` is another name.
        """
        if dataset != self._model.model_name:
            raise InvalidRequestError(
                f"This is the model {self._model.model_name}, and {shown(dataset)} is not its name. "
                "Make a picker or a viewer of that."
            )
        return self.first_choice()

    def living(self, dataset: str, dst: DerivedScalarType, layer: int) -> None:
        """None: what is active depends on the text."""

    def load(self, choice: NeuronChoice) -> NeuronRecord:
        """Compute the record of a choice on its texts."""
        return self._live.record(choice)

    def computes_texts(self, dataset: str) -> bool:
        """Always True."""
        return True

    def live_model(self) -> "LiveModel":
        """The model."""
        return self._live

    def given_model(self) -> LiveModel:
        """The model."""
        return self._live

    @property
    def is_of_model(self) -> bool:
        """Always True."""
        return True

    def component(self, choice: NeuronChoice) -> "Component":
        """The component of a choice."""
        from neuron_explainer.components.asking import component

        name = f"{choice.layer}:{choice.neuron}"
        return component(self._live.config(), name, dst=choice.dst, prepend_bos=self._live.prepend_bos)


def texts_of(model: object, given: object) -> tuple[str, ...]:
    """The texts that a viewer is given, as texts: of a list of messages, what the model's chat template writes.

    Raises:
        InvalidRequestError: they are neither.
        PromptError, ChatTemplateError: as `ModelContext.chat_text`.
    """
    if is_text_or_chat(given):
        given = [given]
    if not isinstance(given, Iterable) or not all(map(is_text_or_chat, several := list(given))):
        raise InvalidRequestError(f"texts is {shown(given)}. Give a text or several, or lists of messages.")
    return tuple(text if isinstance(text, str) else cast("ModelContext", model).chat_text(text) for text in several)
