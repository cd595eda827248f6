"""Short questions to start from, of those that a model has single tokens for."""

from __future__ import annotations

from dataclasses import dataclass

from neuron_explainer.models.model_context import ModelContext, StandardModelContext


@dataclass(frozen=True)
class Example:
    """A question to start from.

    Attributes:
        title: what it is about.
        prompt: the prompt.
        target, distractor: single tokens of the model, both of which could follow.
        other_prompt: a prompt of as many tokens that differs in what decides between the two.
    """

    title: str
    prompt: str
    target: str
    distractor: str
    other_prompt: str


_CANDIDATES: dict[str, list[tuple[str, str, str, str]]] = {
    "Who is given something": [
        (
            "When Mary and John went to the store, John gave a drink to",
            " Mary",
            " John",
            "When Mary and John went to the store, Mary gave a drink to",
        ),
        (
            "Mr. Darcy looked at Elizabeth and said to",
            " her",
            " him",
            "Mr. Darcy looked at Moses and said to",
        ),
    ],
    "A pronoun for a person": [
        ("My sister is a doctor. Yesterday", " she", " he", "My brother is a doctor. Yesterday"),
        ("Her sister was very happy, for", " she", " he", "Her brother was very happy, for"),
    ],
    "A verb for one or for many": [
        ("The keys on the table", " are", " is", "The key on the table"),
        ("And the men of Israel", " were", " was", "And the man of Israel"),
    ],
    "A fact": [
        ("The capital of France is the city of", " Paris", " Rome", "The capital of Italy is the city of"),
        (
            "And the LORD said unto Moses, Speak unto the children of",
            " Israel",
            " men",
            "And the king said unto Moses, Speak unto the children of",
        ),
    ],
    "What stood there before": [
        ("one two three four. one two three", " four", " five", "one two three five. one two three"),
        ("one two three one two", " three", " four", "one two four one two"),
    ],
    "A verse": [
        (
            "In the beginning God created the heaven and the",
            " earth",
            " night",
            "In the beginning God created the day and the",
        ),
    ],
    "The other argument": [
        ("def add(a, b):\n    return a +", " b", " a", "def add(b, a):\n    return b +"),
        ("The men came by day and the women by", " night", " day", "The men came by night and the women by"),
    ],
}
"""By title, for models in general first, then in the manner of what the embedded model was trained on."""


def examples_for(model: ModelContext) -> list[Example]:
    """About six questions whose answers are single tokens of this model; nothing is run.

    >>> import neuron_explainer as ne
    >>> examples_for(ne.load_model("tiny"))[0].prompt
    'Mr. Darcy looked at Elizabeth and said to'
    """
    if isinstance(model, StandardModelContext) and not model.has_tokenizer:
        return []
    examples = (_first(model, title, candidates) for title, candidates in _CANDIDATES.items())
    return [example for example in examples if example is not None]


def _first(model: ModelContext, title: str, candidates: list[tuple[str, str, str, str]]) -> Example | None:
    """The first candidate that fits the model's tokens."""
    for prompt, target, distractor, other_prompt in candidates:
        answers = [_as_token(model, prompt, word) for word in (target, distractor)]
        lengths = {len(model.encode(each)) for each in (prompt, other_prompt)}
        if None not in answers and len(lengths) == 1 and max(lengths) <= model.max_context_length:
            return Example(title, prompt, str(answers[0]), str(answers[1]), other_prompt)
    return None


def _as_token(model: ModelContext, prompt: str, word: str) -> str | None:
    """A word as one token with which the prompt goes on to it, as a text; None if no such text is one token."""
    before, after = (model.encode(each, add_special_tokens=False) for each in (prompt, prompt + word))
    for text in (word, word.lstrip()):  # some tokenizers put a space before every text
        token = model.encode(text, add_special_tokens=False)
        if len(token) == 1 and before + token == after:
            return text
    return None
