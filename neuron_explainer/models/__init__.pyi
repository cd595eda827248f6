from .autoencoders.formats import register_autoencoder_format
from .autoencoders.load_autoencoder import load_autoencoder
from .autoencoders.load_autoencoders import load_autoencoders
from .chats.chat_text import ChatText, ChatTokens
from .checkpoints.formats import register_checkpoint_format
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
    "ChatText",
    "ChatTokens",
    "InferenceEngineType",
    "ModelContext",
    "ModelTokenizer",
    "RegisteredModel",
    "Sampling",
    "StandardModelContext",
    "Transformer",
    "TransformerConfig",
    "get_default_device",
    "load_autoencoder",
    "load_autoencoders",
    "load_model",
    "register_autoencoder_format",
    "register_checkpoint_format",
    "register_family",
    "register_model",
]
