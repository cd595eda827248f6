"""The packed layout of a neuron dataset: one safetensors file a layer, from which one record is read as a slice."""
