"""The same question upstream of a node: what a neuron, a latent or a head's attention comes from."""
