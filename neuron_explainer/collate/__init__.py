"""Making a neuron dataset from a model and text."""
