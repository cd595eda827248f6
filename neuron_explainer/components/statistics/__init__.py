"""What components do over a dataset: frequency, moments, quantiles, tokens, places in a text."""
