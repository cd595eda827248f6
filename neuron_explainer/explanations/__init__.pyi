from .asking.explain import explain
from .asking.explanation import Explanation, Explanations
from .asking.score import score
from .scoring.score import ExplanationScore

__all__ = ["Explanation", "ExplanationScore", "Explanations", "explain", "score"]
