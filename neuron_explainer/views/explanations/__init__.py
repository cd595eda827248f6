"""Explanations that were written, and their scores."""
