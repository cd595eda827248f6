"""Lists of messages to a model's own text and tokens, through the chat template that comes with the model."""
