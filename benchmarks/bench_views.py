"""What views cost: a record's page, whether long texts slow it, and a step of the viewer.

Usage: python -m benchmarks.bench_views
"""

import json

import numpy as np

from benchmarks.measure import median_seconds, print_ratio
from neuron_explainer.activations.activations import ActivationRecord, NeuronId, NeuronRecord
from neuron_explainer.activations.attention_utils import n_pairs
from neuron_explainer.activations.record_json import record_to_json
from neuron_explainer.views.record_page import record_to_html
from neuron_explainer.widgets.neuron_viewer import NeuronViewer


def record_of(n_tokens: int, by_pair: bool = False) -> NeuronRecord:
    """A record of the public datasets' shape: 20 top and 20 random examples, and 10 quantiles of 5."""
    generator = np.random.default_rng(0)

    def example() -> ActivationRecord:
        n_activations = n_pairs(n_tokens) if by_pair else n_tokens
        values = np.round(generator.normal(size=n_activations), 4).tolist()
        return ActivationRecord([f" token{place}" for place in range(n_tokens)], values)

    return NeuronRecord(
        NeuronId(0, 0),
        most_positive_activation_records=[example() for _ in range(20)],
        random_sample=[example() for _ in range(20)],
        random_sample_by_quantile=[[example() for _ in range(5)] for _ in range(10)],
    )


def main() -> None:
    """Print the ratios."""
    short, long, pairs = record_of(64), record_of(1024), record_of(64, by_pair=True)
    short_json, pairs_json = record_to_json(short), record_to_json(pairs)
    viewer = NeuronViewer("gpt2-small", load=lambda request: short)

    def step() -> None:
        viewer.show(neuron=(viewer.controls.neuron.value + 1) % 3000)

    seconds = median_seconds(
        {
            "page": lambda: record_to_html(short),
            "long": lambda: record_to_html(long),
            "pairs": lambda: record_to_html(pairs),
            "json": lambda: json.loads(short_json),
            "pairs json": lambda: json.loads(pairs_json),
            "step": step,
        }
    )
    print_ratio("page of a record / json.loads of its file", seconds["page"] / seconds["json"])
    print_ratio("page of a record by token pair / json.loads of its file", seconds["pairs"] / seconds["pairs json"])
    print_ratio("page with texts of 1,024 tokens / of 64", seconds["long"] / seconds["page"], 6)
    print_ratio("a step of the viewer / the page it shows", seconds["step"] / seconds["page"], 1.5)
    print_ratio("page of a record by token pair / of a record by token", seconds["pairs"] / seconds["page"], 4)
    print_ratio("page of a record, milliseconds", seconds["page"] * 1000, 100, " ms")
    print_ratio("page of a record by token pair, milliseconds", seconds["pairs"] * 1000, 500, " ms")
    print_ratio("size of a page, KB", len(record_to_html(short)) / 1000, 300, " KB")
    print_ratio("size of a page by token pair, KB", len(record_to_html(pairs)) / 1000, 300, " KB")


if __name__ == "__main__":
    main()
