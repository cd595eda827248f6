"""What an experiment is asked: two prompts beside each other, and the metric that they are compared by."""
