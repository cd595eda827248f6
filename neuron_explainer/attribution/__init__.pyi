from .attribute import attribute
from .attribution import Attribution
from .attributions import Attributions

__all__ = ["Attribution", "Attributions", "attribute"]
