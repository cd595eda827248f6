"""What a section is asked for, and what it answers."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from neuron_explainer.activations.records import NeuronRecord
from neuron_explainer.widgets.neurons.choices import NeuronChoice

SectionName = Literal[
    "examples", "directions", "neighbours", "statistics", "explanations", "attention", "heads", "search", "compare"
]

TITLES: dict[SectionName, str] = {
    "examples": "Examples",
    "directions": "Writes and reads",
    "neighbours": "Neighbours",
    "statistics": "Statistics",
    "explanations": "Explanations",
    "attention": "Attention",
    "heads": "All heads",
    "search": "Search",
    "compare": "Compare",
}
N_FOUND = 20
"""How many components a search shows by default."""

OF_HEADS: frozenset[SectionName] = frozenset({"attention", "heads"})
"""The sections that only attention heads have."""

assert tuple(TITLES) == get_args(SectionName)


@dataclass(frozen=True)
class SectionSettings:
    """What the controls of the sections say.

    Attributes:
        n: how many tokens at each end, neighbours or results.
        by: by what neighbours are alike: "write", "read" or "activation".
        among: which components neighbours are looked for among: "head", "neuron" or "latent"; None: its own kind.
        query: the text that is searched for.
        kind: what is searched: "most", "selective" or "explanation".
        is_live: whether one pass of the model over the text is searched, not the stored examples.
        others: the components beside it, as they are written.
        text: the number of the text that attention is shown on.
        token: the token of that text.
    """

    n: int = 10
    by: Literal["write", "read", "activation"] = "write"
    among: Literal["head", "neuron", "latent"] | None = None
    query: str = ""
    kind: Literal["most", "selective", "explanation"] = "most"
    is_live: bool = False
    others: str = ""
    text: int = 0
    token: int = 0


def names_in(others: str) -> list[str]:
    """The names in a text that a person wrote.

    >>> names_in("L2N5, L1N3")
    ['L2N5', 'L1N3']
    """
    return [name for name in re.split(r"[,;\s]+", others) if name]


@dataclass(frozen=True, eq=False)
class SectionAsked:
    """A section of a component's page that is asked for.

    Attributes:
        section: which.
        choice: the component; its texts are the user's own.
        record: its record, which the page has already.
        settings: what the section's controls say.
    """

    section: SectionName
    choice: NeuronChoice
    record: NeuronRecord
    settings: SectionSettings


@dataclass(frozen=True)
class SectionAnswer:
    """What a section shows.

    Attributes:
        html: the section on a card of its own.
        names: the components in it that one can go to, in order.
        texts: for attention, the number of texts and of the tokens of the one shown.
    """

    html: str
    names: tuple[str, ...] = ()
    texts: tuple[int, int] = (0, 0)
