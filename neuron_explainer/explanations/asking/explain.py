"""`explain`: what does this neuron, head or latent do?"""

from __future__ import annotations

from typing import SupportsIndex

from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.explanations.asking.explanation import Explanations
from neuron_explainer.explanations.asking.interfaces import Explainer
from neuron_explainer.explanations.asking.subject import SubjectGiven, subject_of
from neuron_explainer.vocabulary.checks import checked_number


def explain(record: SubjectGiven, explainer: Explainer | None = None, n: SupportsIndex = 1) -> Explanations:
    """What a component does, in words.

    It is written from every fourth top example of the record, so that the others can score it.

    Args:
        record: a NeuronRecord, a component (`ne.component`), or a NeuronViewer.
        explainer: what writes it; None: a PatternExplainer, which needs no language model.
        n: at most how many explanations; the best is first.

    Raises:
        InvalidRequestError: `record` is none of these, the explainer is not one, or the examples do not do for it.
        NotAtHandError: a component has no dataset.
    """
    subject, most = subject_of(record), checked_number("n", n)
    return Explanations(explainer_given(explainer).explain(subject, most)[:most], subject.name)


def explainer_given(explainer: Explainer | None) -> Explainer:
    """The explainer, if it is one; None stands for a PatternExplainer.

    Raises:
        InvalidRequestError: it is something else.
    """
    if explainer is None:
        from neuron_explainer.explanations.patterns.pattern_explainer import PatternExplainer

        return PatternExplainer()
    if not isinstance(explainer, Explainer) or isinstance(explainer, type):
        raise InvalidRequestError(
            f"explainer is {shown(explainer)}. Give one, such as PatternExplainer(), TokenExplainer() or "
            "LanguageModelExplainer(client)."
        )
    return explainer
