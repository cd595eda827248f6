"""Explanations of components: published ones with their scores, and one's own."""
