"""Sparse autoencoders and transcoders, and the formats of their files."""
