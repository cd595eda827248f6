"""Rules that say on which tokens a planted neuron fires; each simulates."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

Tokens = Sequence[str]


@dataclass(frozen=True)
class Rule:
    """Fires where a condition of the tokens and a position holds; `text` says so in words."""

    text: str
    fires: Callable[[Tokens, int], bool]

    def simulate(self, tokens: Tokens) -> list[float]:
        """1 where it fires, 0 elsewhere."""
        return [float(self.fires(tokens, position)) for position in range(len(tokens))]

    def after(self, text: str, steps: int = 1) -> "Rule":
        """Fires so many tokens later (or, below 0, earlier)."""
        return Rule(
            text,
            lambda tokens, i: 0 <= i - steps < len(tokens) and 0 <= i < len(tokens) and self.fires(tokens, i - steps),
        )

    def where(self, text: str, other: "Rule") -> "Rule":
        """Fires where the other does, too."""
        return Rule(text, lambda tokens, i: self.fires(tokens, i) and other.fires(tokens, i))

    def unless(self, text: str, other: "Rule") -> "Rule":
        """Fires where the other does not."""
        return Rule(text, lambda tokens, i: self.fires(tokens, i) and not other.fires(tokens, i))

    def either(self, text: str, other: "Rule") -> "Rule":
        """Fires where one of them does."""
        return Rule(text, lambda tokens, i: self.fires(tokens, i) or other.fires(tokens, i))


def word(*words: str, text: str = "") -> Rule:
    """One of some words, with or without a space before it."""
    return words_of(words, text or "the word " + " or ".join(f"'{each}'" for each in words))


def words_of(words: Collection[str], text: str) -> Rule:
    """The words of a list."""
    known = frozenset(words)
    return Rule(text, lambda tokens, i: tokens[i].strip() in known)


def token(text: str, holds: Callable[[str], bool]) -> Rule:
    """What a condition of the token alone says."""
    return Rule(text, lambda tokens, i: holds(tokens[i]))


def place(text: str, holds: Callable[[int], bool]) -> Rule:
    """What a condition of the position alone says, from 0."""
    return Rule(text, lambda tokens, i: holds(i))
