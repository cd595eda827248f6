from .asking.explain import explain
from .asking.explanation import Explanation, Explanations
from .asking.score import score
from .clients.client import ChatAnswer, ChatClient, ChatRequest
from .clients.local import LocalClient
from .clients.openai_compatible import OpenAICompatibleClient
from .scoring.score import ExplanationScore

__all__ = [
    "ChatAnswer",
    "ChatClient",
    "ChatRequest",
    "Explanation",
    "ExplanationScore",
    "Explanations",
    "LocalClient",
    "OpenAICompatibleClient",
    "explain",
    "score",
]
