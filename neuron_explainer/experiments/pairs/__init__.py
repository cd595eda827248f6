"""Pairs of prompts that differ in what decides the answer: made by rule, or one's own from tables and files."""
