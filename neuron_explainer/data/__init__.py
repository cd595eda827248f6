"""The embedded model "tiny": a small trained model, its neuron datasets, and the sources and licences of its texts."""
