"""The Jacobian lens: what a layer's output is on its way to become, fitted on texts and kept in a file."""
