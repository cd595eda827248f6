"""Families with a plain MLP: GPT-2 and its successors."""
