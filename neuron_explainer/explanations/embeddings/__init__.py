"""Texts as vectors: a sentence encoder at hand, or any other one."""
