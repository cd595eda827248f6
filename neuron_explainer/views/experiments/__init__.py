"""Results of experiments to HTML and figures."""
