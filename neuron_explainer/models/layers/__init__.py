"""The modules that a transformer is made of, each usable alone as a function of tensors."""
