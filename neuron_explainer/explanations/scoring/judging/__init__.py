"""Scores by a language model that judges texts: detection and fuzzing."""
