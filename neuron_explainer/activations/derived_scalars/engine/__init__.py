"""What runs derived scalars: requests are checked, one pass records what they need, and each is computed once."""
