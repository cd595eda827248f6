"""Answers as tables: parts that add up, nodes, components, tokens, next tokens."""
