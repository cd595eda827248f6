"""`ComponentExplanations`: the published explanations of a component, and one's own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, SupportsFloat, SupportsIndex

from neuron_explainer.activations.derived_scalars.names.node_name import NodeName
from neuron_explainer.activations.scored_explanations import NeuronSimulationResults, ScoredExplanation
from neuron_explainer.activations.token_table import TokenTable
from neuron_explainer.components.explanations.merging import identity, replaced_or_added
from neuron_explainer.components.explanations.own_file import OWN_EXPLANATIONS, OwnExplanation, new_entry, own_entries
from neuron_explainer.errors import InvalidRequestError, NeuronNotFoundError, shown
from neuron_explainer.explanations.asking.explanation import Explanation
from neuron_explainer.explanations.scoring.score import ExplanationScore
from neuron_explainer.vocabulary.checks import checked_text, finite_number, whole_number
from neuron_explainer.wording import without_steering

if TYPE_CHECKING:
    import pandas

    from neuron_explainer.components.component import Component

_SCORES = ("ev_correlation_score", "rsquared_score", "absolute_dev_explained_score")
_COLUMNS = ["source", "explanation", *_SCORES, "n_sequences", "when"]


class ComponentExplanations:
    """The explanations of one component. `Component.explanations` gives them; iterating gives the texts, best first.

    Published ones are read when they are first asked for, and one's own each time.
    """

    def __init__(self, component: Component) -> None:
        self.component = component

    @cached_property
    def published(self) -> NeuronSimulationResults | None:
        """The published explanations with their scores; None if none are known of the component.

        Raises:
            DownloadError, MalformedRecordError: they cannot be read.
        """
        from neuron_explainer.activation_server.dataset_paths import explanations_path
        from neuron_explainer.activation_server.load_by_name import load_explanations

        at_hand, node = self.component.at_hand, self.component
        source = at_hand.explanations or at_hand.dataset
        if source is None:
            return None
        if at_hand.explanations is None:
            try:
                explanations_path(source, node.dst)
            except InvalidRequestError:  # none are registered for the dataset
                return None
        try:
            return load_explanations(source, node.layer, node.index, node.dst)
        except NeuronNotFoundError:
            return None

    @property
    def scored(self) -> list[ScoredExplanation]:
        """The published explanations, the best first."""
        if self.published is None:
            return []
        return sorted(self.published.scored_explanations, key=lambda each: -_score_of(each))

    @property
    def own(self) -> list[OwnExplanation]:
        """One's own explanations, the oldest first.

        Raises:
            MalformedRecordError: the file that keeps them is damaged.
        """
        return own_entries(*self._key)

    @property
    def _key(self) -> tuple[str, str, str]:
        """Subject, component and scalar. The scalar says which autoencoder a latent is of; so the name need not."""
        node = self.component
        return node.subject, str(NodeName(node.kind, node.layer, node.index)), node.dst.value

    def add(self, text: str | Explanation, score: SupportsFloat | None = None) -> None:
        """Keep an explanation of one's own; one with the same text is replaced.

        Args:
            text: what the component does, at most 10,000 characters; or an explanation, as `ne.explain` gives it.
            score: how well the text explains it, by a measure of one's own, or as `ne.score` gives it; None if it was
                not scored.

        Raises:
            InvalidRequestError: the text is empty or too long, the score is not a finite number, or the file would
                become too large.
            MalformedRecordError: the file that keeps them is damaged.
        """
        text = text.text if isinstance(text, Explanation) else checked_text("text", text)
        number = None if score is None else finite_number(score)
        if score is not None and number is None:
            raise InvalidRequestError(f"score is {shown(score)}. Give a finite number, or leave it out.")
        measure = f"{score.measure}, {score.scorer}" if isinstance(score, ExplanationScore) else ""
        entry = new_entry(*self._key, text, number, measure)
        OWN_EXPLANATIONS.change(lambda kept: replaced_or_added(kept, entry))

    def remove(self, text: str) -> None:
        """Remove one of one's own explanations.

        Raises:
            InvalidRequestError: none has this text.
        """
        if all(each.text != text for each in self.own):
            known = ", ".join(shown(each.text) for each in self.own) or "none"
            raise InvalidRequestError(
                f"{self.component.name} has no explanation {shown(text)} of your own. It has: {known}."
            )
        unwanted = identity(OwnExplanation(*self._key, text))
        OWN_EXPLANATIONS.change(lambda kept: [each for each in kept if identity(each) != unwanted])

    def to_dataframe(self) -> pandas.DataFrame:
        """A row for each: source ("published" or "own"), explanation, the three scores, n_sequences, when.

        The score of one's own is in the first score's column. Control characters become escapes.
        """
        published = [
            {
                "source": "published",
                "explanation": without_steering(each.explanation),
                **{name: getattr(each.scores, name) for name in _SCORES},
                "n_sequences": len(each.sequences),
            }
            for each in self.scored
        ]
        own = [
            {
                "source": "own",
                "explanation": without_steering(each.text),
                "ev_correlation_score": each.score,
                "when": without_steering(each.when),
            }
            for each in self.own
        ]
        return TokenTable([*published, *own], columns=_COLUMNS)

    def simulations(self, explanation: SupportsIndex | str = 0) -> pandas.DataFrame:
        """What a published explanation predicts beside the real activations: text, position, token, simulated, real.

        Control and direction characters of tokens become escapes.

        Args:
            explanation: which: its number, the best is 0; or its text.

        Raises:
            InvalidRequestError: the component has no such published explanation.
        """
        rows: list[tuple[int, int, str, float | None, float]] = []
        for number, sequence in enumerate(self._chosen(explanation).sequences):
            simulated = sequence.sequence_simulation
            rows += [
                (number, position, without_steering(token), expected, real)
                for position, (token, expected, real) in enumerate(
                    zip(simulated.tokens, simulated.expected_activations, sequence.true_activations, strict=True)
                )
            ]
        return TokenTable(rows, columns=["text", "position", "token", "simulated", "real"])

    def _chosen(self, explanation: SupportsIndex | str) -> ScoredExplanation:
        scored = self.scored
        number = whole_number(explanation)
        if isinstance(explanation, str):
            number = next((place for place, each in enumerate(scored) if each.explanation == explanation), None)
        if number is None or not 0 <= number < len(scored):
            raise InvalidRequestError(
                f"{self.component.name} has no published explanation {shown(explanation)}. It has {len(scored)}."
            )
        return scored[number]

    def __iter__(self) -> Iterator[str]:
        yield from (each.explanation for each in self.scored)
        yield from (each.text for each in self.own)

    def __len__(self) -> int:
        return len(self.scored) + len(self.own)

    def __bool__(self) -> bool:
        return True  # not to be loaded by a mere test

    def __repr__(self) -> str:
        return f"<ComponentExplanations of {self.component.name}>"

    def _repr_html_(self) -> str:
        from neuron_explainer.views.components.explanations import component_explanations_html

        return component_explanations_html(self)


def _score_of(explanation: ScoredExplanation) -> float:
    score = explanation.scores.ev_correlation_score
    return -2.0 if score is None else score
