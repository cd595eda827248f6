from .asking.explain import explain
from .asking.explanation import Explanation, Explanations
from .asking.score import score
from .scoring.embedding_scorer import EmbeddingScorer
from .scoring.score import ExplanationScore
from .scoring.surprisal_scorer import SurprisalScorer

__all__ = [
    "EmbeddingScorer",
    "Explanation",
    "ExplanationScore",
    "Explanations",
    "SurprisalScorer",
    "explain",
    "score",
]
