"""Generation: sampling tokens one by one, as ids and as text."""
