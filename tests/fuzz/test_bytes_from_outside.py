"""Damaged and hostile files of every kind: loaded, or refused by an error of the library, soon and in little memory.

`make fuzz N=10000 SEED=1` tries more of them.
"""

import os

import pytest

from fuzz.campaign import fuzzed
from fuzz.worker_process import WorkerProcess

TARGET_NAMES = (
    "neuron_record", "packed_layer", "packed_json", "explanations",
    "config_json", "model_safetensors", "model_pytorch", "gguf", "tokenizer_json",
    "autoencoder_pytorch", "saelens_folder",
    "run_state", "run_state_sealed", "derived_scalar_store", "texts",
    "attribution",
)  # fmt: skip
"""Here by name: the targets themselves are made in the worker, which takes a while."""

N_CASES = int(os.environ.get("NEURON_EXPLAINER_FUZZ_CASES", "80"))
SEED = int(os.environ.get("NEURON_EXPLAINER_FUZZ_SEED", "0"))


@pytest.mark.parametrize("target", TARGET_NAMES)
def test_bytes_are_loaded_or_refused(target: str, worker: WorkerProcess) -> None:
    campaign = fuzzed(worker, target, SEED, N_CASES)
    assert not campaign.reports, "\n\n".join(campaign.reports)
    assert campaign.outcomes["loaded"]
    assert campaign.outcomes["refused"]


def test_every_target_is_tried(worker: WorkerProcess) -> None:
    assert tuple(worker.target_names()) == TARGET_NAMES
