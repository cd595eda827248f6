"""The components of a whole dataset, and files of explanations."""
