"""Texts, and the sequences of tokens that they are cut into."""
