from .attribute import attribute
from .attribution import Attribution
from .attributions import Attributions
from .comparison import Comparison
from .files.reading import load_attribution
from .question.preview import QuestionPreview, preview_question

__all__ = [
    "Attribution",
    "Attributions",
    "Comparison",
    "QuestionPreview",
    "attribute",
    "load_attribution",
    "preview_question",
]
