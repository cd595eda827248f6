"""What is accumulated about every component while texts go by."""
