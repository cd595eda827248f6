"""What to overwrite while a model runs."""

from dataclasses import dataclass
from typing import Any

from neuron_explainer.activations.derived_scalars.index_fields import JsonForm, SizeOf
from neuron_explainer.activations.derived_scalars.indices import ActivationIndex
from neuron_explainer.errors import InvalidIndexError, shown
from neuron_explainer.vocabulary.checks import finite_number


@dataclass(frozen=True, repr=False)
class AblationSpec(JsonForm):
    """Numbers to overwrite while the model runs: activations, or gradients if the index is BACKWARD.

    Raises:
        InvalidIndexError: `index` is not an ActivationIndex, or `value` is not a finite number.

    >>> AblationSpec(ActivationIndex("mlp.post_act", 5, ("All", 131)), 0).value
    0.0
    """

    index: ActivationIndex
    value: float

    def __post_init__(self) -> None:
        if not isinstance(self.index, ActivationIndex):
            raise InvalidIndexError(f"AblationSpec: index must be an ActivationIndex, not {shown(self.index)}.")
        number = finite_number(self.value)
        if number is None:
            raise InvalidIndexError(f"AblationSpec: value must be a finite number, not {shown(self.value)}.")
        object.__setattr__(self, "value", number)

    @classmethod
    def _value_from_json(cls, field: str, value: Any) -> Any:
        return ActivationIndex.from_json(value) if field == "index" else value

    def check_against(self, n_layers: int, size_of: SizeOf) -> None:
        """Check the index as `ActivationIndex.check_against` does."""
        self.index.check_against(n_layers, size_of)
