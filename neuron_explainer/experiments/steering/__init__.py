"""Steering: a direction that is added to the residual stream, taken out of it or held, and what the model then says."""
