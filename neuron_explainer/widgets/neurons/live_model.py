"""The model that computes on the user's texts, with its autoencoders; loaded when it is first needed."""

import os
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.models.chats.chat_text import ChatText
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.widgets.neurons.choices import DatasetSize, NeuronChoice

if TYPE_CHECKING:  # a record alone is shown without torch
    from neuron_explainer.activations.derived_scalars.config import DstConfig
    from neuron_explainer.attribution.question.settings import AutoencodersGiven
    from neuron_explainer.models.autoencoder_context import AutoencoderContext
    from neuron_explainer.models.model_context import ModelContext


class LiveModel:
    """A model and its autoencoders.

    Args:
        given: a ModelContext, a DstConfig, or what `ne.load_model` takes.
        autoencoders: of latents, as `ne.load_autoencoders` gives them; None: those of a DstConfig.
        prepend_bos: as for `live_record`.
    """

    def __init__(self, given: Any, autoencoders: "AutoencodersGiven" = None, prepend_bos: bool | None = None) -> None:
        self._given = given
        self.prepend_bos = prepend_bos
        self._autoencoders = autoencoders
        self._config: DstConfig | None = None
        self._lock = threading.Lock()  # two threads load it once

    def config(self) -> "DstConfig":
        """The model with its autoencoders.

        Raises:
            MisconfiguredError: the autoencoders are not autoencoders, or not of this model.
            CheckpointError, UnknownNameError: as `ne.load_model`.
        """
        from neuron_explainer.components.asking import config_given

        with self._lock:
            if self._config is None:
                self._config = config_given(self._loaded(), self._autoencoders)
            return self._config

    def context(self) -> "ModelContext":
        """The model.

        Raises:
            MisconfiguredError, CheckpointError, UnknownNameError: as `config`.
        """
        if self._has_config:
            return self.config().get_model_context()
        with self._lock:
            context: ModelContext = self._loaded()
            return context

    def _loaded(self) -> Any:
        """What was given; in the place of a name or path, the model."""
        if isinstance(self._given, str | os.PathLike):
            from neuron_explainer.models.checkpoints.load_model import load_model

            self._given = load_model(self._given)
        return self._given

    def record(self, choice: NeuronChoice) -> NeuronRecord:
        """Compute the record of a choice on its texts; each begins with a token of the model's as `prepend_bos` says.

        Raises:
            InvalidRequestError: the choice has no text.
        """
        if not any(choice.texts):
            raise InvalidRequestError("No text was given. Write a text to compute activations on.")
        from neuron_explainer.collation.live import live_record

        given: dict[str, Any] = {"config": self.config()} if self._has_config else {}
        return live_record(
            self.context(),
            choice.layer,
            choice.neuron,
            list(choice.texts),
            dst=choice.dst,
            prepend_bos=self.prepend_bos,
            **given,
        )

    def beginning(self, texts: Iterable[str] = ()) -> str:
        """The token that `record` puts before each text; empty if it puts none, as if all texts are chats'."""
        if (given := list(texts)) and all(isinstance(text, ChatText) for text in given):
            return ""
        from neuron_explainer.models.beginning import added_before_text, beginning_token

        if self.prepend_bos is False:
            return ""
        model = self.context()
        token_ids = added_before_text(model) if self.prepend_bos is None else [beginning_token(model)]
        return "".join(model.decode_token_list(token_ids)) if token_ids else ""

    def types_of_latents(self) -> list[DerivedScalarType]:
        """The scalars that are the activations of its autoencoders' latents."""
        from neuron_explainer.components.asking import scalar_of_latents

        return [scalar_of_latents(context) for context in self._contexts()]

    def size_of_latents(self, dst: DerivedScalarType) -> DatasetSize | None:
        """The layers and the number of latents of the autoencoders; None if they are not of this scalar."""
        from neuron_explainer.components.asking import scalar_of_latents

        found = next((context for context in self._contexts() if scalar_of_latents(context) == dst), None)
        if found is None:
            return None
        return DatasetSize(found.layer_indices, found.get_autoencoder(found.layer_indices[0]).n_latents)

    @property
    def _has_config(self) -> bool:
        """Whether autoencoders may be in its config."""
        return self._autoencoders is not None or hasattr(self._given, "get_model_context")

    def _contexts(self) -> "list[AutoencoderContext]":
        if not self._has_config:
            return []
        config = self.config()
        found = (config.get_autoencoder_context(kind) for kind in config.autoencoder_kinds)
        return [context for context in found if context is not None]
