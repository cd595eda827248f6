"""Experiments on a model in one call each: patching, lenses, steering, attention patterns."""
