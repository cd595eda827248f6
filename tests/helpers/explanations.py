"""The content of a file of explanations, in the present spelling."""

import math
from typing import Any

UNCALIBRATED: dict[str, Any] = {
    "tokens": ["a", "b"],
    "expected_activations": [1.0, 9.0],
    "activation_scale": "simulated_normalized_activations",
    "distribution_values": [[0, 10], [10]],
    "distribution_probabilities": [[0.9, 0.1], [1.0]],
    "uncalibrated_simulation": None,
}
PRESENT: dict[str, Any] = {
    "dataclass_name": "NeuronSimulationResults",
    "neuron_id": {"dataclass_name": "NeuronId", "layer_index": 3, "neuron_index": 7},
    "scored_explanations": [
        {
            "explanation": "the word b",
            "scored_simulation": {
                "scored_sequence_simulations": [
                    {
                        "sequence_simulation": UNCALIBRATED
                        | {"activation_scale": "neuron_activations", "uncalibrated_simulation": UNCALIBRATED},
                        "true_activations": [0.0, 0.5],
                        "ev_correlation_score": 0.75,
                        "rsquared_score": math.nan,
                        "absolute_dev_explained_score": None,
                    }
                ],
                "ev_correlation_score": 0.5,
                "rsquared_score": -0.25,
                "absolute_dev_explained_score": 0.125,
            },
        }
    ],
}


def in_old_spelling(fields: Any) -> Any:
    """The same with the names that older files have, and without class names."""
    old = {
        "scored_explanations": "scored_explanation_or_baseline_list",
        "explanation": "explanation_or_baseline",
        "sequence_simulation": "simulation",
        "activation_scale": "unit",
        "layer_index": "layer",
        "neuron_index": "idx",
    }
    if isinstance(fields, list):
        return [in_old_spelling(each) for each in fields]
    if not isinstance(fields, dict):
        return fields
    return {old.get(name, name): in_old_spelling(each) for name, each in fields.items() if name != "dataclass_name"}
