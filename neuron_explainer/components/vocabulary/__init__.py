"""Directions in the residual stream, and the tokens of the vocabulary that they raise or read."""
