"""What a model is checked by without another one beside it."""
