"""What a component can be looked at with: a model, its autoencoders, a dataset of records, explanations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from neuron_explainer.errors import NotAtHandError

if TYPE_CHECKING:  # a record alone is shown without torch
    from neuron_explainer.activations.derived_scalars.config import DstConfig
    from neuron_explainer.activations.derived_scalars.engine.bound_config import BoundConfig
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
