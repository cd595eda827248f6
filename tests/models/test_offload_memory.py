"""An offloaded model takes the memory of a few layers: measured by the benchmark, on a smaller model."""

from pathlib import Path

import pytest

from benchmarks.bench_offload import WORK, measured
from helpers.checkpoints import constant_gpt2

LAYER_BYTES = 12 * 512**2 * 4
EMBEDDING_BYTES = 4000 * 512 * 4
N_LAYERS = 12


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read off /proc, as Linux has it")
def test_memory_is_that_of_a_few_layers(tmp_path: Path) -> None:
    """In a forward pass, with gradients, in deriving act times gradient, and in collating."""
    constant_gpt2(tmp_path, n_layer=N_LAYERS, n_embd=512, n_head=8, vocab_size=4000, n_positions=64)
    in_memory = measured(tmp_path, "memory", "forward")["forward"]
    assert in_memory > N_LAYERS * LAYER_BYTES  # else nothing was measured
    for name, rose in measured(tmp_path, "disk", *WORK).items():
        assert rose < 3 * LAYER_BYTES + EMBEDDING_BYTES, name
