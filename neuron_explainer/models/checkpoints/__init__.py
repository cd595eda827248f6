"""Checkpoints: the formats that models are loaded from, and `load_model`."""
