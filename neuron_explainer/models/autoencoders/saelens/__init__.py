"""Autoencoders that SAELens saved: config, tensors, what is folded, and the architectures."""
