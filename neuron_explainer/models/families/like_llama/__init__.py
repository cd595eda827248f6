"""Families that are Llama with differences: RMSNorm or LayerNorm, separate or fused matrices, a gated MLP."""
