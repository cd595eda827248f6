"""Bytes to tensors: safetensors, PyTorch and GGUF files."""
