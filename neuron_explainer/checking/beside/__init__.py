"""What a model is checked by beside the same model of `transformers`."""
