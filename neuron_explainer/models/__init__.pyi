from .checkpoints.load_model import load_model
from .families.registry import register_family
from .generation.sampling import Sampling
from .inference_engine_type_registry import InferenceEngineType
from .model_context import ModelContext, StandardModelContext, get_default_device
from .model_registry import RegisteredModel, register_model
from .tokenizers.tokenizer import ModelTokenizer
from .transformer import Transformer
from .transformer_config import TransformerConfig

__all__ = [
    "InferenceEngineType",
    "ModelContext",
    "ModelTokenizer",
    "RegisteredModel",
    "Sampling",
    "StandardModelContext",
    "Transformer",
    "TransformerConfig",
    "get_default_device",
    "load_model",
    "register_family",
    "register_model",
]
