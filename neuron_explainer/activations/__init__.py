"""Neuron records, and scalars derived from a model's activations."""
