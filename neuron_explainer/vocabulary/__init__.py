"""The vocabulary: places of a forward pass, weights, axes, kinds of component, derived scalars. No torch."""
