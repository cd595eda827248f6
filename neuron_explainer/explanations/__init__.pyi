from .asking.explain import explain
from .asking.explanation import Explanation, Explanations
from .asking.score import score
from .clients.client import ChatAnswer, ChatClient, ChatRequest
from .clients.local import LocalClient
from .clients.openai_compatible import OpenAICompatibleClient
from .scoring.embedding_scorer import EmbeddingScorer
from .scoring.score import ExplanationScore
from .scoring.surprisal_scorer import SurprisalScorer

__all__ = [
    "ChatAnswer",
    "ChatClient",
    "ChatRequest",
    "EmbeddingScorer",
    "Explanation",
    "ExplanationScore",
    "Explanations",
    "LocalClient",
    "OpenAICompatibleClient",
    "SurprisalScorer",
    "explain",
    "score",
]
