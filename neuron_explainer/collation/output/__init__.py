"""What a finished run writes: packed datasets and JSON datasets."""
