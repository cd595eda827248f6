"""Neuron records for tests, and their JSON in the public datasets' spelling."""

import json
from typing import Any

from neuron_explainer.activations.activations import ActivationRecord, NeuronId, NeuronRecord
from neuron_explainer.activations.attention_utils import n_pairs
from neuron_explainer.activations.packed.layout import DatasetInfo

TEXT = ["The", " quick", " brown", " fox", " jumps", " over", " the", " lazy", " dog", "."]

# A small packed dataset
TOKENS = ["a", "b", "c", "d", "e", "f", "g"]
INFO = DatasetInfo(
    model="m",
    derived_scalar_type="mlp_post_act",
    short_name="small",
    user_visible_name="Small",
    n_layers=4,
    layer_indices=[1, 2],
    n_components=2,
    context_length=5,
    provenance={"seed": 1},
)


def example(n_tokens: int, first: float = 0.5, window: int | None = None, by_pair: bool = False) -> ActivationRecord:
    """An example whose activations are all different: first, first + 1/64, …; one a token, or one a token pair."""
    n_activations = n_pairs(n_tokens, window) if by_pair else n_tokens
    return ActivationRecord(
        tokens=[TEXT[place % len(TEXT)] for place in range(n_tokens)],
        activations=[first + place / 64 for place in range(n_activations)],
    )


def neuron_record(layer: int = 3, neuron: int = 7, **of_example: Any) -> NeuronRecord:
    """A whole record: 20 top, 6 random and 2 x 2 quantile examples."""
    return NeuronRecord(
        neuron_id=NeuronId(layer_index=layer, neuron_index=neuron),
        random_sample=[example(5 + place, -place, **of_example) for place in range(6)],
        random_sample_by_quantile=[
            [example(6, bucket + place / 8, **of_example) for place in range(2)] for bucket in range(2)
        ],
        quantile_boundaries=[0.25, 1.5],
        mean=0.125,
        variance=2.5,
        skewness=-0.5,
        kurtosis=3.25,
        most_positive_activation_records=[example(4 + place % 5, 20.0 - place, **of_example) for place in range(20)],
    )


def public_json(record: NeuronRecord) -> dict[str, Any]:
    """What a public dataset's file of this record holds; written here by hand, not by the library."""

    def activation_record(each: ActivationRecord) -> dict[str, Any]:
        return {"activations": each.activations, "tokens": each.tokens, "dataclass_name": "ActivationRecord"}

    return {
        "neuron_id": {
            "neuron_index": record.neuron_id.neuron_index,
            "layer_index": record.neuron_id.layer_index,
            "dataclass_name": "NeuronId",
        },
        "random_sample": [activation_record(each) for each in record.random_sample],
        "random_sample_by_quantile": [
            [activation_record(each) for each in bucket] for bucket in record.random_sample_by_quantile or []
        ],
        "quantile_boundaries": record.quantile_boundaries,
        "mean": record.mean,
        "variance": record.variance,
        "skewness": record.skewness,
        "kurtosis": record.kurtosis,
        "most_positive_activation_records": [
            activation_record(each) for each in record.most_positive_activation_records
        ],
        "dataclass_name": "NeuronRecord",
    }


def as_bytes(fields: Any) -> bytes:
    return json.dumps(fields).encode()
