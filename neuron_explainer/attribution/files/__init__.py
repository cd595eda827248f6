"""Answers on disk: one safetensors file for each."""
