"""A stand-in for loading records in a viewer, and what a viewer shows."""

import threading

from neuron_explainer.activations.activations import ActivationRecord, NeuronId, NeuronRecord
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.widgets.neuron_viewer import NeuronViewer
from neuron_explainer.widgets.neurons.choices import NeuronChoice

MLP, HEADS = DerivedScalarType.MLP_POST_ACT, DerivedScalarType.ATTN_WRITE_NORM


class FakeLoader:
    """Returns a record at once; or when `gates[neuron]` is set; or raises `errors[neuron]`."""

    def __init__(self) -> None:
        self.asked: list[NeuronChoice] = []
        self.gates: dict[int, threading.Event] = {}
        self.errors: dict[int, Exception] = {}

    def __call__(self, choice: NeuronChoice) -> NeuronRecord:
        """The record of a choice."""
        self.asked.append(choice)
        if choice.neuron in self.gates:
            assert self.gates[choice.neuron].wait(10)
        if choice.neuron in self.errors:
            raise self.errors[choice.neuron]
        token = f"{choice.dataset}-{choice.layer}-{choice.neuron}"
        n_activations = 3 if choice.dst == HEADS else 2
        example = ActivationRecord([token, " said"], [1.0] * n_activations)
        return NeuronRecord(NeuronId(choice.layer, choice.neuron), most_positive_activation_records=[example] * 12)


def shown(viewer: NeuronViewer) -> tuple[int, int]:
    """The layer and neuron that the viewer shows."""
    assert viewer.record is not None
    neuron_id = viewer.record.neuron_id
    assert f"{neuron_id.layer_index}-{neuron_id.neuron_index}" in viewer.to_html()
    return neuron_id.layer_index, neuron_id.neuron_index


def settled(viewer: NeuronViewer) -> tuple[int, int]:
    """The layer and neuron that the viewer shows when it has finished loading."""
    assert viewer.wait(10)
    return shown(viewer)
