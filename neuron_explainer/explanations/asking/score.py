"""`score`: how good is an explanation, beside explanations that say little?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.explanations.asking.explanation import Explanation, as_explanation
from neuron_explainer.explanations.asking.interfaces import Scorer
from neuron_explainer.explanations.asking.subject import SubjectGiven, subject_of
from neuron_explainer.explanations.scoring.baselines import baselines_of
from neuron_explainer.explanations.scoring.score import ExplanationScore
from neuron_explainer.vocabulary.checks import checked_flag


def score(
    explanation: Explanation | str,
    record: SubjectGiven,
    scorer: Scorer | None = None,
    *,
    others: Iterable[Explanation | str] = (),
    baselines: bool = True,
) -> ExplanationScore:
    """How good an explanation is, on examples that it was not written from.

    Args:
        explanation: a text, or what `ne.explain` gives.
        record: the component: a NeuronRecord, a component, or a NeuronViewer.
        scorer: what scores; None: a PatternScorer for what can simulate, an EmbeddingScorer for words.
        others: explanations of other components, as a baseline: the mean of their scores. Those with the same text
            are left out.
        baselines: whether the scorer also scores explanations that say little; a scorer that asks a language model
            then asks as often again for each.

    Returns:
        The score with its interval, the baselines ("most frequent token", and "another explanation" if `others` are
        given; `chance` is known without asking), and the single judgements.

    Raises:
        InvalidRequestError: an argument is none of these, or the scorer cannot score the explanation.
        NotAtHandError: a component has no dataset.
    """
    given, subject = as_explanation(explanation), subject_of(record)
    with_baselines = checked_flag("baselines", baselines)
    if isinstance(others, str | Explanation):
        raise InvalidRequestError(f"others is {shown(others)}. Give a list of explanations.")
    of_others = [as_explanation(each) for each in others]
    chosen = _usual_scorer(given) if scorer is None else scorer
    if not isinstance(chosen, Scorer) or isinstance(chosen, type):
        raise InvalidRequestError(
            f"scorer is {shown(chosen)}. Give one, such as PatternScorer(), EmbeddingScorer() or "
            "DetectionScorer(client)."
        )
    found = chosen.score(given, subject)
    if not with_baselines:
        return found
    beside, note = baselines_of(given, subject, chosen, of_others)
    return replace(
        found, baselines={**found.baselines, **beside}, note="; ".join(each for each in (found.note, note) if each)
    )


def _usual_scorer(explanation: Explanation) -> Scorer:
    if explanation.can_simulate:
        from neuron_explainer.explanations.scoring.pattern_scorer import PatternScorer

        return PatternScorer()
    from neuron_explainer.explanations.scoring.embedding_scorer import EmbeddingScorer

    return EmbeddingScorer()
