"""Neurons whose rule is known: what explainers should find, and scorers should tell from near misses."""
