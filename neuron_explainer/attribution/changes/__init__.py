"""Experiments on an answer: nodes overwritten, and estimates beside what really happens."""
