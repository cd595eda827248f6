"""Neuron records: decoding, packed reading, loading many at once, and start-up time.

Run it as `python -m benchmarks.bench_records`; it needs no network and writes to a temporary folder alone.
"""

import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection

import numpy as np

import neuron_explainer as ne
from benchmarks.measure import median_seconds, print_ratio
from neuron_explainer.activations.activations import ActivationRecord, NeuronId, NeuronRecord, save_neuron
from neuron_explainer.activations.packed.dataset import PackedDataset
from neuron_explainer.activations.packed.layout import DatasetInfo, PackedExamples, PackedLayer
from neuron_explainer.activations.packed.writing import write_packed_dataset_info, write_packed_layer
from neuron_explainer.activations.record_json import record_from_json, record_to_json

LATENCY_SECONDS = 0.02


def made_up_record(n_examples: int = 107, n_tokens: int = 64, neuron: int = 0) -> NeuronRecord:
    """A record like the public ones: with 107 examples of 64 tokens its file has about 200 KB."""
    chance = random.Random(neuron)

    def example() -> ActivationRecord:
        return ActivationRecord(
            tokens=[f" word{chance.randrange(10_000)}"[: chance.randint(2, 9)] for _ in range(n_tokens)],
            activations=[chance.gauss(0, 1) for _ in range(n_tokens)],
        )

    return NeuronRecord(
        NeuronId(0, neuron),
        random_sample=[example() for _ in range(n_examples // 3)],
        mean=0.1,
        variance=1.0,
        most_positive_activation_records=[example() for _ in range(n_examples - n_examples // 3)],
    )


def measure_decoding() -> None:
    content = record_to_json(made_up_record())
    seconds = median_seconds(
        {"json": lambda: json.loads(content), "typed": lambda: record_from_json(content)}, repeats=100
    )
    print_ratio(
        f"typed and checked decoding / json.loads, {len(content) / 1000:.0f} KB",
        seconds["typed"] / seconds["json"],
        0.6,
    )


def measure_packed(folder: str) -> None:
    n_components, n_sequences, context, width = 2048, 5000, 128, 64
    chance = np.random.default_rng(0)

    def examples(*leading: int) -> PackedExamples:
        shape = (n_components, *leading)
        return PackedExamples(
            sequence=chance.integers(0, n_sequences, shape, dtype=np.int32),
            start=chance.integers(0, context - width, shape, dtype=np.int32),
            length=np.full(shape, width, np.int32),
            activations=chance.normal(size=(*shape, width)).astype(np.float16),
        )

    info = DatasetInfo(
        model="made up",
        derived_scalar_type="mlp_post_act",
        short_name="made-up",
        user_visible_name="Made up",
        n_layers=1,
        layer_indices=[0],
        n_components=n_components,
        context_length=context,
    )
    layer = PackedLayer(
        sequences=(chance.zipf(1.2, (n_sequences, context)) % 50_000).astype(np.int32),  # few words make up most of it
        sequence_lengths=np.full(n_sequences, context, np.int32),
        top=examples(20),
        random=examples(10),
        quantile=examples(4, 5),
        quantile_boundaries=np.zeros((n_components, 3), np.float32),
        moments=chance.normal(size=(n_components, 4)),
        activation_frequency=chance.random(n_components),
        histogram_counts=np.ones((n_components, 50), np.int64),
        histogram_edges=np.tile(np.linspace(0, 1, 51, dtype=np.float32), (n_components, 1)),
    )
    write_packed_dataset_info(folder, info, [f" token{token}" for token in range(50_000)])
    write_packed_layer(folder, 0, layer)
    dataset = PackedDataset.open(folder)
    dataset.record(0, 0)
    neurons = iter(chance.integers(0, n_components, 1000).tolist())
    seconds = median_seconds({"record": lambda: dataset.record(0, next(neurons))}, repeats=200)["record"]
    print_ratio(f"one of {n_components:,} packed neurons, 50 examples, warm file cache", seconds * 1000, 1, " ms")


def serve(body: bytes, connection: Connection) -> None:
    """Answer every request with `body`, after a while."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            time.sleep(LATENCY_SECONDS)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        connection.send(server.server_address[1])
        server.serve_forever()


def measure_many_at_once() -> None:
    ours, theirs = multiprocessing.Pipe()
    body = record_to_json(made_up_record(n_examples=30))
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(body, theirs), daemon=True)
    process.start()
    address = f"http://127.0.0.1:{ours.recv()}"
    neurons = [(0, neuron) for neuron in range(100)]
    try:
        seconds = median_seconds(
            {
                "in turn": lambda: [ne.load_neuron(address, *neuron) for neuron in neurons],
                "at once": lambda: ne.load_neurons(neurons, dataset=address, progress=False).raise_first_failure(),
            },
            repeats=3,
            warm_up=1,
        )
    finally:
        process.terminate()
    what = f"load_neurons / load_neuron in turn, {len(neurons)} neurons, {LATENCY_SECONDS * 1000:.0f} ms latency"
    print_ratio(what, seconds["at once"] / seconds["in turn"], 1 / 8)


def measure_start_up(folder: str) -> None:
    save_neuron(folder, made_up_record(n_examples=30))
    look = f"record = ne.load_neuron({folder!r}, 0, 0)"
    codes = {
        "pandas": "import pandas",
        "read": f"import neuron_explainer as ne; {look}",
        "view": f"import neuron_explainer as ne; {look}; record._repr_html_()",
        "nothing": "pass",
    }

    def running(code: str) -> None:
        subprocess.run([sys.executable, "-c", code], check=True)

    seconds = median_seconds({name: partial(running, code) for name, code in codes.items()}, repeats=7)
    pandas = seconds["pandas"] - seconds["nothing"]
    print_ratio("import and read a record / import pandas", (seconds["read"] - seconds["nothing"]) / pandas)
    print_ratio("import, read and view a record / import pandas", (seconds["view"] - seconds["nothing"]) / pandas)
    print_ratio("import, read and view a record, the interpreter's start included", seconds["view"], 1, " s")


def main() -> None:
    os.environ["NEURON_EXPLAINER_CACHE"] = "off"
    with tempfile.TemporaryDirectory() as folder:
        measure_decoding()
        measure_packed(os.path.join(folder, "packed"))
        measure_many_at_once()
        measure_start_up(os.path.join(folder, "json"))


if __name__ == "__main__":
    main()
