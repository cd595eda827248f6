"""Attention heads: what their circuits copy and match, and what they attend to."""
