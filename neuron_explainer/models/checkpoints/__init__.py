"""Checkpoints: the formats of models' files, and `load_model`."""
