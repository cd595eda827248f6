"""Which components fire on a text or token: from stored examples, or in one pass of a model."""
