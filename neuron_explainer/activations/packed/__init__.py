"""The packed layout of a neuron dataset: one safetensors file per layer, from which a record is read as a slice."""
