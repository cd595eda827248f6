"""Lenses: the residual stream, or what is written to it, read as tokens."""
