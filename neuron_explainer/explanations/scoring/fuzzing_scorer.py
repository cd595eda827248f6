"""`FuzzingScorer`: can a language model tell by the explanation on which tokens the component is active?"""

from __future__ import annotations

from typing import SupportsIndex

import numpy as np

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.explanations.asking.explanation import Explanation
from neuron_explainer.explanations.asking.subject import Subject
from neuron_explainer.explanations.clients.client import ChatClient
from neuron_explainer.explanations.language_models import prompts
from neuron_explainer.explanations.language_models.asking import checked_client
from neuron_explainer.explanations.language_models.judging import Judge
from neuron_explainer.explanations.language_models.quoting import quoted, quoted_text
from neuron_explainer.explanations.scoring.judged_texts import AskedText, score_of_judgements
from neuron_explainer.explanations.scoring.score import ExplanationScore
from neuron_explainer.explanations.scoring.texts import ACTIVE_FROM, LOW_UNTIL, JudgedText, texts_to_judge
from neuron_explainer.vocabulary.checks import MOST_SEED, checked_flag, checked_number, checked_text

RIGHTLY, WRONGLY = "rightly marked", "wrongly marked"
LEAST_TEXTS = 2


class FuzzingScorer:
    """Asks a language model in which texts the marks are on the tokens that an explanation is of.

    Each held-out text on which the component is active is shown twice, in different questions: rightly marked, at the
    tokens from 0.3 of the highest activation on, and wrongly marked, at as many other tokens, of at most 0.1 of it. So
    the topic of a text gives nothing away, as it may in detection. How texts are asked about, and what the value and
    `measures` are, is as in a DetectionScorer. 0.5 is chance.

    Of a head, the tokens that attend are marked, not those that they attend to: the activation of a token is that of
    the strongest pair in which it attends.

    Args:
        client: what is asked, such as OpenAICompatibleClient(…) or LocalClient(model).
        n_texts: the most texts; each is shown twice.
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

    def __init__(
        self,
        client: ChatClient,
        *,
        n_texts: SupportsIndex = 20,
        n_tokens: SupportsIndex = 32,
        per_question: SupportsIndex = 5,
        confidence: bool = True,
        top_logprobs: SupportsIndex = 0,
        instructions: str | None = None,
        seed: SupportsIndex = 0,
        progress: bool | None = None,
    ) -> None:
        self.name = f"fuzzing by {checked_client(client).name}"
        self.n_texts = checked_number("n_texts", n_texts, LEAST_TEXTS)
        self.n_tokens = checked_number("n_tokens", n_tokens)
        self.seed = checked_number("seed", seed, 0, at_most=MOST_SEED)
        self.judge = Judge(
            client,
            prompts.FUZZ if instructions is None else checked_text("instructions", instructions),
            prompts.FUZZED,
            checked_number("per_question", per_question, at_most=100),
            checked_flag("confidence", confidence),
            checked_number("top_logprobs", top_logprobs, 0, at_most=20),
            progress,
        )

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
        positive = [
            each
            for each in texts_to_judge(
                subject, explanation, n_tokens=self.n_tokens, most=2 * self.n_texts, seed=self.seed
            )
            if each.is_positive
        ]
        marked = [pair for each in positive if (pair := _marked(each, subject.highest, draw)) is not None]
        if len(marked) < LEAST_TEXTS:
            raise InvalidRequestError(
                f"{subject.name} has {len(positive)} held-out texts on which it is active, of which {len(marked)} have "
                f"as many other tokens to mark. At least {LEAST_TEXTS} are needed. Give a record with more examples, or "
                "a larger n_tokens."
            )
        swapped = draw.permutation(np.arange(len(marked)) % 2)
        groups = [[marked[at][(swapped[at] + turn) % 2] for at in draw.permutation(len(marked))] for turn in (0, 1)]
        judged = self.judge.judge(quoted_text(explanation.text), [[each.shown for each in group] for group in groups])
        note = f"{left_out} texts have too few other tokens" if (left_out := len(positive) - len(marked)) else ""
        return score_of_judgements(explanation, subject, self.name, [*groups[0], *groups[1]], judged, note)


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
        AskedText(text, quoted(text.tokens, active), RIGHTLY, True),
        AskedText(text, quoted(text.tokens, wrong), WRONGLY, False),
    )
