"""The words of the library: places of a forward pass, axes, kinds of component, derived scalars. No torch."""
