"""The page of a model's checks."""
