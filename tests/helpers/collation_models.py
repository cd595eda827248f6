"""A small model of any family whose tokenizer takes numbers for words, for the tests of collating."""

import numpy as np
import tokenizers
import torch

from helpers.tiny_models import our_model
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.models.tokenizers.tokenizer import ModelTokenizer

VOCABULARY = 61

torch.set_num_threads(1)  # such small models are slower on several


def number_tokenizer() -> ModelTokenizer:
    """One token a word, and the words are the numbers from 0 to 60."""
    words = tokenizers.models.WordLevel({f"w{number}": number for number in range(VOCABULARY)}, unk_token="w0")
    tokenizer = tokenizers.Tokenizer(words)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return ModelTokenizer(tokenizer)


def model_context(family: str = "gpt2", dtype: torch.dtype = torch.float64) -> StandardModelContext:
    """The family's small random model."""
    return StandardModelContext(f"random-{family}", our_model(family, dtype), number_tokenizer(), end_token_ids=[1])


def random_texts(n_texts: int, seed: int = 0, longest: int = 30) -> list[str]:
    """Texts of 1 to `longest` tokens."""
    generator = np.random.default_rng(seed)
    return [
        " ".join(f"w{token}" for token in generator.integers(0, VOCABULARY, generator.integers(1, longest + 1)))
        for _ in range(n_texts)
    ]
