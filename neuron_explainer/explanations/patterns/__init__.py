"""Explanations without a language model: tokens, and patterns of tokens."""
