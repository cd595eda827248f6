"""Where neuron records come from: the registry of datasets, and loading from them."""
