"""What is differentiated, bound to a model: losses of the logits, and objectives of the residual stream."""
