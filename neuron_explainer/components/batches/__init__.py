"""The tables of many components of a layer, computed from the weights at once."""
