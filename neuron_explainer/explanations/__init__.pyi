from .asking.explain import explain
from .asking.explanation import Explanation, Explanations
from .asking.score import score
from .many.neuronpedia_files import (
    load_neuronpedia_explanations,
    neuronpedia_upload_fields,
    results_of_neuronpedia,
    save_neuronpedia_explanations,
)
from .many.openai_files import save_explanations
from .many.simulated import scored_explanation
from .scoring.score import ExplanationScore

__all__ = [
    "Explanation",
    "ExplanationScore",
    "Explanations",
    "explain",
    "load_neuronpedia_explanations",
    "neuronpedia_upload_fields",
    "results_of_neuronpedia",
    "save_explanations",
    "save_neuronpedia_explanations",
    "score",
    "scored_explanation",
]
