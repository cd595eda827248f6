"""One planted neuron of a kind, without making the others."""

from functools import cache

from explanations.planted.known_rules import KNOWN
from explanations.planted.neurons import PlantedNeuron, record_of
from neuron_explainer.explanations import Explanation


@cache
def planted(kind: str = "word", noise: str = "none") -> PlantedNeuron:
    """The first rule of a kind, with that noise."""
    number, (_, rule, near) = next((n, known) for n, known in enumerate(KNOWN) if known[0] == kind)
    wrong = tuple(Explanation(each.text, "planted", each) for each in near)
    return PlantedNeuron(kind, rule, wrong, noise, record_of(rule, noise, number))
