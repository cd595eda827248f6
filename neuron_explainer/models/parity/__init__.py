"""The comparison with `transformers`, and folded weights."""
