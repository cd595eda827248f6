from .asking.explain import explain
from .asking.explanation import Explanation, Explanations
from .asking.score import score
from .clients.client import ChatAnswer, ChatClient, ChatRequest
from .clients.local import LocalClient
from .clients.openai_compatible import OpenAICompatibleClient
from .language_models.explainer import LanguageModelExplainer
from .language_models.prompts import Demonstration
from .language_models.simulator import LanguageModelSimulator
from .many.neuronpedia_files import (
    load_neuronpedia_explanations,
    neuronpedia_upload_fields,
    results_of_neuronpedia,
    save_neuronpedia_explanations,
)
from .many.openai_files import save_explanations
from .many.simulated import scored_explanation
from .patterns.pattern_explainer import PatternExplainer
from .patterns.token_explainer import TokenExplainer
from .scoring.embedding_scorer import EmbeddingScorer
from .scoring.judging.detection_scorer import DetectionScorer
from .scoring.judging.fuzzing_scorer import FuzzingScorer
from .scoring.pattern_scorer import PatternScorer
from .scoring.score import ExplanationScore
from .scoring.simulation_scorer import SimulationScorer
from .scoring.surprisal_scorer import SurprisalScorer

__all__ = [
    "ChatAnswer",
    "ChatClient",
    "ChatRequest",
    "Demonstration",
    "DetectionScorer",
    "EmbeddingScorer",
    "Explanation",
    "ExplanationScore",
    "Explanations",
    "FuzzingScorer",
    "LanguageModelExplainer",
    "LanguageModelSimulator",
    "LocalClient",
    "OpenAICompatibleClient",
    "PatternExplainer",
    "PatternScorer",
    "SimulationScorer",
    "SurprisalScorer",
    "TokenExplainer",
    "explain",
    "load_neuronpedia_explanations",
    "neuronpedia_upload_fields",
    "results_of_neuronpedia",
    "save_explanations",
    "save_neuronpedia_explanations",
    "score",
    "scored_explanation",
]
