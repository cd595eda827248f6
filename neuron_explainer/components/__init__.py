"""One neuron, head or latent as an object: what it writes and reads, neighbours, statistics; and search over all."""
