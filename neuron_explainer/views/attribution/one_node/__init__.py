"""What is known of one node, as static HTML."""
