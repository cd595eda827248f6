"""`TokenExplainer`: the tokens on which a component is active, and those before them that make it more so."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import SupportsIndex

from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.explanations.asking.explanation import Explanation
from neuron_explainer.explanations.asking.interfaces import Simulator
from neuron_explainer.explanations.asking.subject import Subject
from neuron_explainer.explanations.patterns.token_forms import quoted_token
from neuron_explainer.explanations.patterns.token_means import TokenMeans
from neuron_explainer.explanations.patterns.training_tokens import TrainingTokens
from neuron_explainer.explanations.patterns.wording import NOTHING, explanations_told, shorter_than
from neuron_explainer.vocabulary.checks import checked_number

_LEAST_SHARE = 0.25
"""A token is told whose mean is so high, as a share of the top."""
_LEAST_RAISE, _LEAST_COUNT = 0.25, 2
"""A token before it is told that raises it so much, as a share of the top, so often."""
_MOST_BEFORE = 3


class TokenExplainer:
    """Names the tokens on which a component is active, and tokens before them that raise it. No model is asked.

    An explanation simulates with the mean activation of each token in the examples for writing and in random ones; it
    backs off to the word whatever its case and the space before it, and to the mean of all tokens. The shorter ones
    know only the tokens that they tell.

    Args:
        most_tokens: how many tokens the text tells; `details["tokens"]` has all that were found, with their mean
            activation, lift (how far that is above the mean of all other tokens) and count; `details["before"]` the
            tokens after which others are more active than the same ones elsewhere, and by how much.

    Raises:
        InvalidRequestError: `most_tokens` is below 1.

    >>> import neuron_explainer as ne
    >>> from neuron_explainer.explanations import TokenExplainer, explain
    >>> explain(ne.load_neuron("tiny", 2, 5), TokenExplainer(3))[0].text.startswith("the tokens ")
    True
    """

    name = "tokens"

    def __init__(self, most_tokens: SupportsIndex = 10) -> None:
        self.most_tokens = checked_number("most_tokens", most_tokens, 1)

    def __repr__(self) -> str:
        return f"TokenExplainer({self.most_tokens})"

    def explain(self, subject: Subject, n: int) -> list[Explanation]:
        """At most three explanations: all tokens, the three strongest, the strongest.

        Args:
            subject: the component.
            n: at most how many.

        Raises:
            InvalidRequestError: the component has no examples with an activation above 0 to write from.
        """
        training = TrainingTokens.of(subject)
        means = TokenMeans.of(training)
        tokens, before = _tokens(training, means), _before(training)
        details = {"tokens": _token_table(tokens), "before": _before_table(before)}
        after = (
            f" (more so after {', '.join(quoted_token(token) for token, *_ in before[:_MOST_BEFORE])})"
            if before
            else ""
        )
        longest = tokens[: self.most_tokens]
        told: list[tuple[str, Simulator]] = [(_text(longest, len(tokens)) + after, means)]
        for most in shorter_than(len(longest)):
            own = {each.token: each.activation for each in tokens[:most]}
            told.append((_text(tokens[:most], 0), TokenMeans(own, {}, training.base)))
        return explanations_told(self.name, subject, training, told[:n], details)


@dataclass(frozen=True)
class _Token:
    token: str
    activation: float
    lift: float
    count: int
    explained: float


def _tokens(training: TrainingTokens, means: TokenMeans) -> list[_Token]:
    """The tokens whose mean is high; that which explains most of the high activations first."""
    numbers: dict[str, list[int]] = {}
    for number in range(len(training.activation)):
        numbers.setdefault(training.token(number), []).append(number)
    n, total = len(training.activation), float(training.activation.sum())
    found = []
    for token, own in numbers.items():
        mean = means.simulate([token])[0]
        values = training.activation[own]
        if mean >= _LEAST_SHARE * training.top and training.is_high[own].any():
            others = (total - float(values.sum())) / (n - len(own)) if n > len(own) else 0.0
            explained = float(values[training.is_high[own]].sum()) * float(training.is_high[own].mean())
            found.append(_Token(token, float(values.mean()), float(values.mean()) - others, len(own), explained))
    return sorted(found, key=lambda each: -each.explained)


def _before(training: TrainingTokens) -> list[tuple[str, float, int]]:
    """The tokens after which other tokens are more active than elsewhere: token, by how much, how often.

    With n activations a after a token, and for each the mean m of the same token elsewhere, it is Σ (a - m) / (n + 1).
    """
    of_token: dict[str, list[int]] = {}
    of_pair: dict[tuple[str, str], list[int]] = {}
    for number in range(len(training.activation)):
        token, place = training.token(number), training.position[number]
        of_token.setdefault(token, []).append(number)
        if place:
            of_pair.setdefault((training.texts[training.text[number]][place - 1], token), []).append(number)
    above, counts = dict[str, float](), Counter[str]()
    for (before, token), own in of_pair.items():
        n_elsewhere = len(of_token[token]) - len(own)
        if n_elsewhere:
            here = float(training.activation[own].sum())
            elsewhere = (float(training.activation[of_token[token]].sum()) - here) / n_elsewhere
            above[before] = above.get(before, 0.0) + here - len(own) * elsewhere
            counts[before] += len(own)
    raised = [(token, value / (counts[token] + 1), counts[token]) for token, value in above.items()]
    kept = [each for each in raised if each[1] >= _LEAST_RAISE * training.top and each[2] >= _LEAST_COUNT]
    return sorted(kept, key=lambda each: -each[1])


def _text(tokens: list[_Token], n_found: int) -> str:
    if not tokens:
        return NOTHING
    more = f" and {n_found - len(tokens)} more" if n_found > len(tokens) else ""
    noun = "the token" if len(tokens) == 1 else "the tokens"
    return f"{noun} {', '.join(quoted_token(each.token) for each in tokens)}{more}"


def _token_table(tokens: list[_Token]) -> TokenTable:
    rows = [(each.token, each.activation, each.lift, each.count) for each in tokens]
    return TokenTable(rows, columns=["token", "activation", "lift", "count"])


def _before_table(before: list[tuple[str, float, int]]) -> TokenTable:
    return TokenTable(before, columns=["token", "raised by", "count"])
