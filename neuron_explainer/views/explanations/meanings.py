"""What columns, kinds of texts and measures mean, in a line each, so that a page is understood without the docs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from neuron_explainer.views.components.parts import SMALL
from neuron_explainer.views.token_text import escaped

TITLES = {"before": "Tokens before"}
"""The headings of tables of explanations that say more than their names."""

TABLES = {
    "patterns": "The last token of a pattern is the one on which it is active; before it stand those that come before. "
    "| is “or”, [any] is any token. Activation (→): the mean where the pattern matches; support: how many high "
    "activations it matches; precision: the share of its matches that are high.",
    "tokens": "Activation: the mean on the token; lift: how far that is above the mean of all others; count: how often "
    "the token was there.",
    "before": "After these, tokens are more active than the same ones elsewhere: by so much on average.",
}
"""How to read the tables of explanations, by their names."""

MEASURES = {
    "correlation": "of simulated and real activations over all tokens: 1 at best; 0: it predicts nothing; below 0: the "
    "opposite of what it says",
    "AUROC": "how often a text that fits is judged to fit more than one that does not: 1 at best; 0.5: by chance",
    "balanced accuracy": "the share of right judgements, of texts that fit and of those that do not alike: 1 at best; "
    "0.5: by chance",
}
"""What measures are, by their names."""

KINDS = {
    "positive": "it is active on the text",
    "near miss": "it is not, though a token is there on which it is active elsewhere",
    "random": "it is not active on the text",
    "rightly marked": "the marked tokens (<<…>>) are the active ones",
    "wrongly marked": "the marked tokens (<<…>>) are others",
}
"""What kinds of texts are."""

COLUMNS = {
    "activation": "the highest in the text",
    "similarity": "the cosine of the text's vector and the explanation's",
    "gain": "by how much a token becomes likelier on average after the explanation, in nats",
    "log_likelihood": "of the whole text after the explanation",
    "without": "the same without the explanation",
    "tokens": "how many it has",
    "confidence": "how probable it is that the text fits, by the model's answer",
    "right": "whether the judgement is",
}
"""What the columns of judged texts are."""


def small_line(text: str) -> str:
    """A line of small text under a heading or a table; empty without a text."""
    return f'<div style="{SMALL};margin:2px 0;max-width:56em">{escaped(text)}</div>' if text else ""


def judged_lines(kinds: Iterable[object], columns: Iterable[str]) -> str:
    """What the kinds of texts and the columns of a table of judged texts mean; empty without known ones."""
    there = set(map(str, kinds))
    of_kinds = [f"{kind}: {meaning}" for kind, meaning in KINDS.items() if kind in there]
    of_columns = [f"{name.replace('_', ' ')}: {COLUMNS[name]}" for name in columns if name in COLUMNS]
    return small_line("; ".join(of_kinds)) + small_line("; ".join(of_columns))


def line_of(meanings: Mapping[str, str], name: str) -> str:
    """What a name means; empty if it is not known."""
    return small_line(meanings.get(name, ""))
