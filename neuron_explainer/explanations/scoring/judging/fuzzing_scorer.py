"""`FuzzingScorer`: can a language model tell by the explanation on which tokens the component is active?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.explanations.asking.explanation import Explanation
from neuron_explainer.explanations.asking.subject import Subject
from neuron_explainer.explanations.language_models import prompts
from neuron_explainer.explanations.language_models.quoting import quoted_text, quoted_tokens
from neuron_explainer.explanations.scoring.judging.judged_texts import AskedText, score_of_judgements
from neuron_explainer.explanations.scoring.judging.judging_scorer import LEAST_OF_EACH, JudgingScorer
from neuron_explainer.explanations.scoring.score import ExplanationScore
from neuron_explainer.explanations.scoring.texts import (
    ACTIVE_FROM,
    LOW_UNTIL,
    JudgedText,
    held_out_pieces,
    notes_of_few,
)

RIGHTLY, WRONGLY = "rightly marked", "wrongly marked"


@dataclass(eq=False, repr=False)
class FuzzingScorer(JudgingScorer):
    """Asks a language model in which texts the marks are on the tokens that an explanation is of.

    Each held-out text on which the component is active is shown twice, in different questions: rightly marked, at the
    tokens from 0.3 of the highest activation on, and wrongly marked, at as many other tokens, of at most 0.1 of it. So
    the topic of a text gives nothing away, as it may in detection. How texts are asked about, and what the value and
    `measures` are, is as in a DetectionScorer. 0.5 is chance.

    Of a head, the tokens that attend are marked, not those that they attend to: the activation of a token is that of
    the strongest pair in which it attends.

    Args:
        client: what is asked, such as OpenAICompatibleClient(…) or LocalClient(model).
        n_texts: the most texts that are judged; half of them are rightly marked.
        n_tokens: the tokens of a text.
        per_question: the most texts of a question.
        confidence: whether the model is asked how sure it is.
        top_logprobs: of how many of the likeliest tokens the log-probabilities are asked for; 0: of none.
        instructions: what the model is told, instead of `prompts.FUZZ`; the form of the answer is told beneath it.
        seed: which texts are drawn where there are more, which other tokens are marked, and the order.
        progress: whether there is a bar; None: where it takes long.

    Raises:
        InvalidRequestError: an argument is none of these.
    """

    method = "fuzzing"
    usual_instructions = prompts.FUZZ
    demonstration = prompts.FUZZED

    def score(self, explanation: Explanation, subject: Subject) -> ExplanationScore:
        """The score; `judgements` has a row for each marked text: text, kind, activation, judgement, confidence, right.

        Args:
            explanation: the explanation.
            subject: the component.

        Raises:
            InvalidRequestError: there are fewer than two texts on which the component is active, with enough others
                of their tokens to mark.
            AnswerFormatError: no answer has the form.
        """
        draw = np.random.default_rng(self.seed)
        found = [each for each in held_out_pieces(subject, explanation, self.n_tokens) if each.is_positive]
        positive = [found[number] for number in draw.permutation(len(found))[: self.n_texts // 2]]
        marked = [pair for each in positive if (pair := _marked(each, subject.highest, draw)) is not None]
        if len(marked) < LEAST_OF_EACH:
            raise InvalidRequestError(
                f"{subject.name} has {len(positive)} held-out texts on which it is active, of which {len(marked)} have "
                f"as many other tokens to mark. At least {LEAST_OF_EACH} are needed. Give a record with more examples, "
                "or a larger n_tokens."
            )
        swapped = draw.permutation(np.arange(len(marked)) % 2)
        groups = [[marked[at][(swapped[at] + turn) % 2] for at in draw.permutation(len(marked))] for turn in (0, 1)]
        judged = self.judge.judge(quoted_text(explanation.text), [[each.shown for each in group] for group in groups])
        left_out = len(positive) - len(marked)
        notes = notes_of_few(len(marked)) + ([f"{left_out} texts have too few other tokens"] if left_out else [])
        return score_of_judgements(explanation, subject, self.name, [*groups[0], *groups[1]], judged, "; ".join(notes))


def _marked(text: JudgedText, highest: float, draw: np.random.Generator) -> tuple[AskedText, AskedText] | None:
    """The text with its active tokens marked, and with as many others marked; None if there are not as many."""
    active = {place for place, value in enumerate(text.activations) if value >= ACTIVE_FROM * highest}
    others = [
        place
        for place, value in enumerate(text.activations)
        if value <= LOW_UNTIL * highest and text.tokens[place].strip()
    ]
    if len(others) < len(active):
        return None
    wrong = {others[number] for number in draw.permutation(len(others))[: len(active)]}
    return (
        AskedText(text, quoted_tokens(text.tokens, active), RIGHTLY, True),
        AskedText(text, quoted_tokens(text.tokens, wrong), WRONGLY, False),
    )
