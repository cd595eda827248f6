"""How ablations are bound to a model and applied while it runs."""
