"""Models that are larger than the memory: whether one fits, and weights that stay in their files."""
