"""Checks of a model: against itself, and against the same model by `transformers`."""
