"""Comparison with `transformers`, and folded norms."""
