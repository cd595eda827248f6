from .attribute import attribute
from .attribution import Attribution
from .attributions import Attributions
from .comparison import Comparison

__all__ = ["Attribution", "Attributions", "Comparison", "attribute"]
