"""The planted neurons: a rule, five wrong rules near it, and a record of examples with noise or without."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from explanations.planted.corpus import corpus
from explanations.planted.known_rules import KNOWN
from explanations.planted.rules import Rule
from neuron_explainer.activations.activation_records import ActivationRecord
from neuron_explainer.activations.neuron_ids import NeuronId
from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.explanations import Explanation
from neuron_explainer.explanations.asking.subject import Subject, subject_of

NOISES = ("none", "noisy", "unreliable")
"""Exact; a value that varies, and a little everywhere; fires too seldom, and sometimes elsewhere."""
N_TOP, N_RANDOM = 32, 60


@dataclass(frozen=True, eq=False)
class PlantedNeuron:
    """A neuron whose rule is known.

    Attributes:
        kind: "word", "topic", "pattern", "position" or "context".
        rule: the rule, which simulates.
        explanation: the rule in words.
        near: five wrong explanations that are near; they simulate, too.
        noise: one of NOISES.
        record: 32 top, 60 random and 4 × 3 quantile examples.
    """

    kind: str
    rule: Rule
    near: tuple[Explanation, ...]
    noise: str
    record: NeuronRecord

    @property
    def explanation(self) -> str:
        """The rule in words."""
        return self.rule.text

    @property
    def simulator(self) -> Rule:
        """What simulates the rule."""
        return self.rule

    @cached_property
    def subject(self) -> Subject:
        """What is explained."""
        return subject_of(self.record)

    @property
    def right(self) -> Explanation:
        """The right explanation, which simulates."""
        return Explanation(self.rule.text, "planted", self.rule)


@cache
def planted_neurons(noises: tuple[str, ...] = NOISES) -> list[PlantedNeuron]:
    """Every rule with every noise that is named."""
    found = []
    for number, (kind, rule, near) in enumerate(KNOWN):
        wrong = tuple(Explanation(each.text, "planted", each) for each in near)
        for noise in noises:
            record = record_of(rule, noise, number)
            found.append(PlantedNeuron(kind, rule, wrong, noise, record))
    return found


def activations_of(rule: Rule, tokens: list[str], noise: str, chance: np.random.Generator) -> list[float]:
    """The neuron's activations on a text."""
    return _with_noise(np.array(rule.simulate(tokens)), noise, chance)


def record_of(rule: Rule, noise: str, number: int = 0) -> NeuronRecord:
    """A record of the neuron over the texts."""
    chance = np.random.default_rng([number, NOISES.index(noise)])
    activations = [_with_noise(fires, noise, chance) for fires in _where_it_fires(rule)]
    peaks = [max(values) for values in activations]
    order = chance.permutation(len(peaks))
    by_height = sorted(order, key=lambda each: -peaks[each])
    buckets = np.array_split(by_height[::-1], 4)

    def examples(numbers: Iterable[int]) -> list[ActivationRecord]:
        return [ActivationRecord(corpus()[each], activations[each]) for each in numbers]

    return NeuronRecord(
        NeuronId(layer_index=0, neuron_index=number),
        random_sample=examples(order[:N_RANDOM]),
        random_sample_by_quantile=[examples(chance.choice(bucket, 3, False)) for bucket in buckets],
        quantile_boundaries=[peaks[bucket[0]] for bucket in buckets[1:]],
        most_positive_activation_records=examples(by_height[:N_TOP]),
    )


@cache
def _where_it_fires(rule: Rule) -> list[np.ndarray]:
    return [np.array(rule.simulate(tokens)) for tokens in corpus()]


def _with_noise(fires: np.ndarray, noise: str, chance: np.random.Generator) -> list[float]:
    n = len(fires)
    if noise == "none":
        values = 3 * fires
    elif noise == "noisy":
        values = np.maximum(0, fires * chance.normal(3, 0.7, n) + chance.normal(0, 0.2, n))
    else:
        found, false = chance.random(n) < 0.85, chance.random(n) < 0.0005
        values = np.maximum(fires * found, 0.7 * false) * chance.uniform(2, 4, n)
    return [float(value) for value in values]
