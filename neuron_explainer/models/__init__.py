"""Transformers that can be recorded and intervened on, and everything that loads them."""
