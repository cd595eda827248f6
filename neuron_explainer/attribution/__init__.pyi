from .attribute import attribute
from .attribution import Attribution
from .attributions import Attributions
from .comparison import Comparison
from .files.reading import load_attribution

__all__ = ["Attribution", "Attributions", "Comparison", "attribute", "load_attribution"]
