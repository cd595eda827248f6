"""Autoencoders that are not a linear map and an activation function, and back."""
