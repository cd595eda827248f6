"""`DetectionScorer`: can a language model tell by the explanation on which texts the component is active?"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.explanations.asking.explanation import Explanation
from neuron_explainer.explanations.asking.subject import Subject
from neuron_explainer.explanations.language_models import prompts
from neuron_explainer.explanations.language_models.quoting import quoted_text, quoted_tokens
from neuron_explainer.explanations.scoring.judging.judged_texts import AskedText, score_of_judgements
from neuron_explainer.explanations.scoring.judging.judging_scorer import LEAST_OF_EACH, JudgingScorer
from neuron_explainer.explanations.scoring.score import ExplanationScore
from neuron_explainer.explanations.scoring.texts import JudgedText, notes_of_few, texts_to_judge
from neuron_explainer.vocabulary.checks import checked_number


@dataclass(eq=False, repr=False)
class DetectionScorer(JudgingScorer):
    """Asks a language model which held-out texts fit an explanation, of as many that do as others.

    The texts are pieces of the examples for scoring that the explanation was not written from. Half of those on which
    the component is not active are near misses where there are as many: they have a token on which it is active
    elsewhere. Several texts, in an order of chance, are asked about in one question. Where an answer cannot be read,
    the question is asked once more; if that answer cannot be read either, its judgements are missing, and `note`
    counts them.

    The value is the AUROC of the answers' confidences; those are the probability of "true" where an answer has
    log-probabilities, and else what the model says. Without confidences it is the balanced accuracy. 0.5 is chance.
    `measures` has the accuracy, also by kind of text, true and false positive rates, and the counts.

    Of a head, the activation of a token is that of the strongest pair in which it attends.

    Args:
        client: what is asked, such as OpenAICompatibleClient(…) or LocalClient(model).
        n_texts: the most texts; the component is active on half of them.
        n_tokens: the tokens of a text.
        per_question: the most texts of a question.
        confidence: whether the model is asked how sure it is.
        top_logprobs: of how many of the likeliest tokens the log-probabilities are asked for; 0: of none.
        instructions: what the model is told, instead of `prompts.DETECT`; the form of the answer is told beneath it.
        seed: which texts are drawn where there are more, and their order.
        progress: whether there is a bar; None: where it takes long.
        least_near_misses: how many near misses there must be.

    Raises:
        InvalidRequestError: an argument is none of these.

    >>> import json
    >>> import neuron_explainer as ne
    >>> from neuron_explainer.explanations import score
    >>> from neuron_explainer.explanations.clients.client import ChatAnswer
    >>> class AlwaysYes:
    ...     name = "always yes"
    ...     def ask(self, requests, *, progress=None):
    ...         texts = [request.messages[-1][1].count("\\n") for request in requests]
    ...         return [
    ...             ChatAnswer(json.dumps({"judgements": [{"text": place + 1, "fits": True} for place in range(n)]}))
    ...             for n in texts
    ...         ]
    >>> found = score("text", ne.load_neuron("tiny", 2, 5), DetectionScorer(AlwaysYes()), baselines=False)
    >>> found.measure, found.value
    ('balanced accuracy', 0.5)
    """

    least_near_misses: int = field(default=0, kw_only=True)

    method = "detection"
    usual_instructions = prompts.DETECT
    demonstration = prompts.DETECTED

    def __post_init__(self) -> None:
        super().__post_init__()
        self.least_near_misses = checked_number("least_near_misses", self.least_near_misses, 0)

    def score(self, explanation: Explanation, subject: Subject) -> ExplanationScore:
        """The score; `judgements` has a row for each text: text, kind, activation, judgement, confidence, right.

        Args:
            explanation: the explanation.
            subject: the component.

        Raises:
            InvalidRequestError: there are too few texts on which the component is active, or others, or near misses.
            AnswerFormatError: no answer has the form.
        """
        texts = self._texts(explanation, subject)
        asked = [AskedText(each, quoted_tokens(each.tokens), each.kind, each.is_positive) for each in texts]
        order = np.random.default_rng(self.seed).permutation(len(asked))
        mixed = [asked[number] for number in order]
        judged = self.judge.judge(quoted_text(explanation.text), [[each.shown for each in mixed]])
        answer_of = dict(zip(order.tolist(), judged, strict=True))
        note = _note(texts)
        return score_of_judgements(
            explanation, subject, self.name, asked, [answer_of[number] for number in range(len(asked))], note
        )

    def _texts(self, explanation: Explanation, subject: Subject) -> list[JudgedText]:
        texts = texts_to_judge(subject, explanation, n_tokens=self.n_tokens, most=self.n_texts, seed=self.seed)
        n_positive = sum(each.is_positive for each in texts)
        n_near = sum(each.kind == "near miss" for each in texts)
        if n_positive < LEAST_OF_EACH or n_near < self.least_near_misses:
            raise InvalidRequestError(
                f"{subject.name} has {n_positive} held-out texts on which it is active to set beside as many others, "
                f"of which {n_near} are near misses. At least {LEAST_OF_EACH} are needed, and {self.least_near_misses} "
                "near misses. Give a record with more examples, or a smaller least_near_misses or n_tokens."
            )
        return texts


def _note(texts: list[JudgedText]) -> str:
    n_near = sum(each.kind == "near miss" for each in texts)
    none = "no near misses: no text on which it is silent has a token of its peaks"
    return "; ".join([*notes_of_few(len(texts)), *([none] if n_near == 0 else [])])
