"""Views of the results of experiments."""
