"""The parts of a transformer, each usable alone as a function of tensors."""
