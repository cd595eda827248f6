"""ne.patch: activations of one prompt written into the run of another, node by node."""
