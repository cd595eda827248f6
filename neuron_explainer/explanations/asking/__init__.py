"""What is explained, from which examples, and what one asks: explain, score."""
