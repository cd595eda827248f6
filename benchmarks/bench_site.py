"""How quickly a site is written: `python -m benchmarks.bench_site`. Pages a second of processor time, on one thread.

The embedded dataset, and random numbers of the size of SmolLM2-135M's neurons with its weights (from the local cache).
"""

import os
import tempfile
import time
from pathlib import Path

import neuron_explainer as ne
from benchmarks.stored_examples import write_dataset_like_smollm2


def measure(name: str, dataset: str | Path, folder: Path, model: ne.ModelContext | None, layers: range) -> None:
    """Print the pages a second of processor and of wall time, and the size of the largest file."""
    ne.export_site(dataset, folder / "before", nodes=[f"L{layers[0]}N0"], model=model, progress=False)  # imports
    wall, processor = time.perf_counter(), time.process_time()
    site = ne.export_site(dataset, folder / "site", layers=layers, model=model, progress=False)
    processor, wall = time.process_time() - processor, time.perf_counter() - wall
    largest = max(os.path.getsize(os.path.join(path, each)) for path, _, files in os.walk(site) for each in files)
    print(
        f"| {name}, {site.n_pages:,} pages | {site.n_pages / processor:.0f} pages a second of processor time, "
        f"{site.n_pages / wall:.0f} of wall time; largest file {largest / 1000:.0f} kB |"
    )


def main() -> None:
    """Measure both."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        measure("embedded dataset", "tiny", folder / "tiny", None, range(1, 3))
        dataset = write_dataset_like_smollm2(folder / "dataset")
        measure("SmolLM2-135M", dataset, folder / "smollm2", ne.load_model("smollm2-135m", device="cpu"), range(1))


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    main()
