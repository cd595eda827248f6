"""Texts, and how they are cut into sequences of tokens."""
