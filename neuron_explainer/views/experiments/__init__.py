"""Results of experiments as HTML and figures."""
