"""`Explanation`: what a component does, in words, and perhaps as something that predicts its activations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.explanations.asking.interfaces import Scorer, Simulator
from neuron_explainer.vocabulary.checks import checked_text, is_several
from neuron_explainer.wording import without_steering

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.explanations.asking.subject import SubjectGiven
    from neuron_explainer.explanations.scoring.score import ExplanationScore

MOST_CHARACTERS = 10_000


@dataclass(frozen=True)
class Explanation:
    """What a component does. `ne.explain` gives some; one of one's own is `Explanation("words for animals")`.

    Attributes:
        text: the explanation in words.
        explainer: what wrote it; empty for one's own.
        simulator: what predicts activations by it; None if it is words alone.
        written_from: the texts that it was written from, as digests; they are never scored.
        details: what the explainer has to say of it, such as the patterns of a PatternExplainer.

    Raises:
        InvalidRequestError: the text is empty, or longer than 10,000 characters.

    >>> Explanation("words for animals").text
    'words for animals'
    """

    text: str
    explainer: str = ""
    simulator: Simulator | None = field(default=None, compare=False, repr=False)
    written_from: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    details: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        text = checked_text("text", self.text).strip()
        if not 0 < len(text) <= MOST_CHARACTERS:
            raise InvalidRequestError(
                f"The explanation has {len(text):,} characters. Give 1 to {MOST_CHARACTERS:,}: what the component does."
            )
        object.__setattr__(self, "text", text)

    @property
    def can_simulate(self) -> bool:
        """Whether it predicts activations by itself."""
        return self.simulator is not None

    def simulate(self, tokens: Sequence[str]) -> list[float]:
        """The activations that it predicts: one for each token, in a unit of the simulator's own.

        Args:
            tokens: a text, token by token.

        Raises:
            InvalidRequestError: it is words alone (a SimulationScorer has a language model that simulates by words), or
                `tokens` is not a list of tokens.
        """
        if self.simulator is None:
            raise InvalidRequestError(
                f"{shown(self.text)} is words alone, which predict nothing by themselves. A PatternExplainer or "
                "TokenExplainer writes explanations that simulate; a SimulationScorer simulates by words."
            )
        return self.simulator.simulate(checked_tokens(tokens))

    def score(self, record: SubjectGiven, scorer: Scorer | None = None) -> ExplanationScore:
        """How good it is; see `ne.score`."""
        from neuron_explainer.explanations.asking.score import score

        return score(self, record, scorer=scorer)


class Explanations(Sequence[Explanation]):
    """Explanations of one component, the best first. `ne.explain` gives them.

    Args:
        explanations: the explanations.
        name: the component's name.
    """

    def __init__(self, explanations: Iterable[Explanation], name: str) -> None:
        self._explanations = list(explanations)
        self.name = name

    @overload
    def __getitem__(self, index: int) -> Explanation: ...

    @overload
    def __getitem__(self, index: slice) -> Explanations: ...

    def __getitem__(self, index: int | slice) -> Explanation | Explanations:
        found = self._explanations[index]
        return Explanations(found, self.name) if isinstance(found, list) else found

    def __len__(self) -> int:
        return len(self._explanations)

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self._explanations)

    def to_dataframe(self) -> pandas.DataFrame:
        """A row for each: explanation, explainer, and whether it can simulate. Control characters become escapes."""
        rows = [(without_steering(each.text), without_steering(each.explainer), each.can_simulate) for each in self]
        return TokenTable(rows, columns=["explanation", "explainer", "can_simulate"])

    def __repr__(self) -> str:
        texts = "; ".join(shown(each.text, 100) for each in self[:3])
        more = f"; … {len(self) - 3} more" if len(self) > 3 else ""
        return without_steering(f"<Explanations of {self.name}: {texts}{more}>")

    def _repr_html_(self) -> str:
        from neuron_explainer.views.explanations.written import explanations_html

        return explanations_html(self)


def checked_tokens(tokens: Sequence[str]) -> Sequence[str]:
    """A text, token by token.

    Raises:
        InvalidRequestError: it is a text as a whole, whose characters would be taken for tokens, or not of texts.
    """
    given: object = tokens
    if isinstance(given, str) or not is_several(given) or not all(isinstance(token, str) for token in given):
        raise InvalidRequestError(f"{shown(tokens)} is not a text, token by token. Give a list of tokens.")
    return tokens


def as_explanation(given: Explanation | str) -> Explanation:
    """An explanation, or a text as one.

    Raises:
        InvalidRequestError: it is neither, or the text is empty.
    """
    if isinstance(given, Explanation):
        return given
    if isinstance(given, Explanations):
        raise InvalidRequestError(
            f"{shown(given)} are {len(given)} explanations. Give one of them, such as explanations[0]."
        )
    if not isinstance(given, str):
        raise InvalidRequestError(
            f"{shown(given)} is not an explanation. Give a text, or one that ne.explain gives, such as "
            "ne.explain(record)[0]; the component comes after it."
        )
    return Explanation(given)
