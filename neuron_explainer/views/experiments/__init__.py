"""The pages and figures of experiments."""
