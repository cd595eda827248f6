"""The views of a component's statistics and of those of a dataset."""

import numpy as np
import pytest

import neuron_explainer as ne
from helpers.hostile_tokens import HOSTILE_TOKENS
from helpers.html_reading import assert_harmless
from neuron_explainer.activations.activations import ActivationRecord, NeuronId, NeuronRecord, save_neuron
from neuron_explainer.components.statistics.of_dataset import dataset_statistics
from neuron_explainer.views.components.dataset_scatter import plot_dataset_statistics


@pytest.mark.parametrize("node", ["L2N5", "L0H1"])
def test_statistics_as_html(node):
    statistics = ne.component("tiny", node).statistics
    html = statistics._repr_html_()
    assert_harmless(html)
    assert ("How far back" in html) == (node == "L0H1")


def test_hostile_tokens_stay_texts(tmp_path):
    values = [float(number + 1) for number in range(len(HOSTILE_TOKENS))]
    record = NeuronRecord(
        NeuronId(0, 0), mean=1.0, most_positive_activation_records=[ActivationRecord(HOSTILE_TOKENS, values)]
    )
    save_neuron(tmp_path, record)
    assert_harmless(ne.component(tmp_path, "L0N0").statistics._repr_html_())
    figure = plot_dataset_statistics(dataset_statistics(tmp_path, progress=False), "max", "mean")
    assert_harmless(figure._snapshot)


def test_the_scatter_has_a_point_for_each_component():
    frame = dataset_statistics("tiny")
    figure = plot_dataset_statistics(frame, log_x=False)
    np.testing.assert_array_equal(figure.data[0].x, frame["frequency"])
    np.testing.assert_array_equal(figure.data[0].y, frame["max"])
    assert figure.data[0].customdata[0].startswith("L0N0")
    with pytest.raises(ne.errors.UnknownNameError):
        plot_dataset_statistics(frame, "name")
