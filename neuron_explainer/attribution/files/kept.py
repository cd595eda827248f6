"""What an answer that was read from a file knows of its setting, where the model is not there."""

from collections.abc import Mapping
from dataclasses import dataclass

from neuron_explainer.activations.derived_scalars.tensor_ablations import Ablation


@dataclass(frozen=True)
class KeptSetting:
    """What a file says of the setting.

    Attributes:
        texts: the texts of tokens that tables may show, by id.
        ablations: what was overwritten.
        notes: what each ablation did, in words.
    """

    texts: Mapping[int, str]
    ablations: tuple[Ablation, ...]
    notes: tuple[str, ...]
