"""`SurprisalScorer`: does an explanation make a language model expect the texts on which a component is active?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import SupportsIndex

from neuron_explainer.collation.runs.preparation import ModelGiven, model_of
from neuron_explainer.errors import InvalidRequestError, shown
from neuron_explainer.explanations.asking.explanation import Explanation, as_explanation
from neuron_explainer.explanations.asking.subject import Subject
from neuron_explainer.explanations.scoring.kept import KeptByText
from neuron_explainer.explanations.scoring.likelihoods import log_likelihoods
from neuron_explainer.explanations.scoring.score import ExplanationScore
from neuron_explainer.explanations.scoring.separation import separation
from neuron_explainer.explanations.scoring.texts import MOST_TEXTS, MOST_TOKENS, N_TOKENS, texts_to_judge
from neuron_explainer.models.beginning import encoded
from neuron_explainer.models.model_context import weights_now
from neuron_explainer.vocabulary.checks import checked_number

PROMPT, PROMPT_WITHOUT = "Here is a text with {}:\n\n", "Here is a text:\n\n"


class SurprisalScorer:
    """Asks a language model nothing: it looks at how likely the model finds each text, with the explanation before it.

    A text's gain is its log-likelihood by token after the prompt "Here is a text with …:", less that after "Here is a
    text:". The score is the AUROC of the gain: how often a text on which the component is active gains more than one on
    which it is not; 0.5 is chance. It needs a model that has learnt to follow a description, if only a little: of the
    smallest ones the score says little.

    Each text is run with a prompt of its own, and nothing that is computed for one is used for another. The
    log-likelihoods without an explanation are kept for a while, so that a second explanation takes half of the time.

    Args:
        model: a ModelContext, or anything that `load_model` takes.
        against: an explanation that takes the place of none: the gain is then over that one.
        n_tokens: how many tokens around the highest activation a text has.
        n_texts: of how many texts at most there is a judgement; half of them are positive.
        seed: which texts are drawn, where there are more.

    Attributes:
        name: what it is called in tables and files.

    Raises:
        InvalidRequestError: an argument is none of these.

    >>> import neuron_explainer as ne
    >>> from neuron_explainer.explanations import SurprisalScorer, score
    >>> scorer = SurprisalScorer(ne.load_model("tiny", device="cpu"), n_texts=8)
    >>> found = score("words of the Bible", ne.load_neuron("tiny", 2, 5), scorer)
    >>> found.judgements.columns.tolist()
    ['text', 'kind', 'activation', 'log_likelihood', 'without_explanation', 'tokens', 'gain']
    """

    def __init__(
        self,
        model: ModelGiven,
        *,
        against: Explanation | str | None = None,
        n_tokens: SupportsIndex = N_TOKENS,
        n_texts: SupportsIndex = MOST_TEXTS,
        seed: SupportsIndex = 0,
    ) -> None:
        self.n_tokens = checked_number("n_tokens", n_tokens, at_most=MOST_TOKENS)
        self.n_texts = checked_number("n_texts", n_texts, 2)
        self.seed = checked_number("seed", seed, 0)
        self.against = None if against is None else as_explanation(against)
        self.model = model_of(model)
        self.name = f"surprisal by {self.model.model_name}"
        self._without = KeptByText(self._without_explanation)

    def score(self, explanation: Explanation, subject: Subject) -> ExplanationScore:
        """The AUROC of the gain by token; in `measures` the mean difference of gains in nats, and the AUROC by kind.

        Raises:
            InvalidRequestError: the subject has no texts to tell apart, or the model's log-likelihoods are not finite.
            StoppedError: the work is to stop.
        """
        texts = texts_to_judge(subject, explanation, n_tokens=self.n_tokens, most=self.n_texts, seed=self.seed)
        pieces = [each.text for each in texts]
        prompt, note = self._prompt(explanation.text)
        after = self._after(prompt, pieces)
        transformer = self.model.get_or_create_model()
        if transformer.active_interventions:
            without = self._without_explanation(pieces)
        else:
            without = self._without(pieces, tuple(weights_now(transformer)))
        lengths = [len(ids) for ids in self._encoded(pieces)]
        gains = [(own - other) / max(1, n) for own, other, n in zip(after, without, lengths, strict=True)]
        for text, gain in zip(pieces, gains, strict=True):
            if not math.isfinite(gain):
                raise InvalidRequestError(
                    f"{self.model.model_name} gives {shown(text)} a log-likelihood that is not finite. Load the model "
                    "with another dtype."
                )
        columns = {"log_likelihood": after, "without_explanation": without, "tokens": lengths, "gain": gains}
        return separation(explanation, subject, self.name, texts, gains, columns, note)

    def _without_explanation(self, texts: list[str]) -> list[float]:
        prompt, _ = self._prompt(None if self.against is None else self.against.text)
        return self._after(prompt, texts)

    def _after(self, prompt: list[int], texts: list[str]) -> list[float]:
        return log_likelihoods(self.model.get_or_create_model(), prompt, self._encoded(texts))

    def _encoded(self, texts: list[str]) -> list[list[int]]:
        """The tokens of each text, without any that begins a text; at most half as many as the model reads."""
        most = self.model.max_context_length // 2
        return [self.model.encode(text, add_special_tokens=False)[:most] for text in texts]

    def _prompt(self, explanation: str | None) -> tuple[list[int], str]:
        """The tokens that come before a text: at most half as many as the model reads; and what is to be said of them.

        Raises:
            InvalidRequestError: the model reads so few tokens that even a prompt without an explanation does not fit.
        """
        most = self.model.max_context_length - self.model.max_context_length // 2
        for n_characters in _shorter(len(explanation or "")):
            text = PROMPT_WITHOUT if explanation is None else PROMPT.format(explanation[:n_characters])
            ids, _ = encoded(self.model, text, None)
            if 0 < len(ids) <= most:
                cut = explanation is not None and n_characters < len(explanation)
                return ids, f"of the explanation, the model read {n_characters:,} characters" if cut else ""
        raise InvalidRequestError(
            f"{self.model.model_name} reads {self.model.max_context_length} tokens, too few for a prompt and a text."
        )

    def __repr__(self) -> str:
        return f"SurprisalScorer({self.model.model_name!r}, n_tokens={self.n_tokens}, n_texts={self.n_texts})"


def _shorter(n: int) -> Iterator[int]:
    """So many characters, then each time an eighth less."""
    yield n
    while n > 1:
        n = n * 7 // 8
        yield n
