"""Attention patterns of a prompt: all heads at once, and the strongest pairs of tokens."""
