"""The embedded default: a small trained model, its neuron dataset, and the sources and licences of its texts."""
