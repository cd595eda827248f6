from .api import collate
from .conversion import convert
from .live import live_record
from .settings import CollateSettings
from .verification import verify

__all__ = [
    "CollateSettings",
    "collate",
    "convert",
    "live_record",
    "verify",
]
