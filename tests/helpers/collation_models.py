"""A small model of any family whose tokenizer has a token for each word from w0 to w60, for the tests of collating."""

import copy
from typing import Any

import numpy as np
import torch
from tokenizers.processors import TemplateProcessing

from benchmarks import small_models
from benchmarks.small_models import VOCABULARY_SIZE
from helpers.tiny_models import our_model
from neuron_explainer.models.model_context import StandardModelContext
from neuron_explainer.models.tokenizers.tokenizer import ModelTokenizer

torch.set_num_threads(1)  # such small models are slower on several


def number_tokenizer() -> ModelTokenizer:
    """One token a word, and the words are w0 to w60."""
    return small_models.number_tokenizer("w")


def model_context(family: str = "gpt2", dtype: torch.dtype = torch.float64) -> StandardModelContext:
    """The family's small random model."""
    return StandardModelContext(f"random-{family}", our_model(family, dtype), number_tokenizer(), end_token_ids=[1])


def changeable_context(family: str = "gpt2", dtype: torch.dtype = torch.float64) -> StandardModelContext:
    """The family's small random model with weights of its own; those of `model_context` are shared by all tests."""
    shared = model_context(family, dtype)
    model = copy.deepcopy(shared.get_or_create_model())
    return StandardModelContext(shared.model_name, model, shared.tokenizer, end_token_ids=[1])


def transformer_of(context: StandardModelContext) -> Any:
    """The model itself; of any type, because tests look at parts that families have and others lack."""
    return context.get_or_create_model()


def random_texts(n_texts: int, seed: int = 0, longest: int = 30) -> list[str]:
    """Texts of 1 to `longest` tokens."""
    generator = np.random.default_rng(seed)
    return [
        " ".join(f"w{token}" for token in generator.integers(0, VOCABULARY_SIZE, generator.integers(1, longest + 1)))
        for _ in range(n_texts)
    ]


def begun_context() -> StandardModelContext:
    """A model whose tokenizer puts a token before every text."""
    tokenizer = number_tokenizer()
    tokenizer.backend.post_processor = TemplateProcessing(single="w9 $A", special_tokens=[("w9", 9)])
    return StandardModelContext("begun", our_model("llama", torch.float64), tokenizer, end_token_ids=[1])
