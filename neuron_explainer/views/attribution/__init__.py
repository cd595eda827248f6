"""Answers to "why A rather than B?" as static pages."""
