"""The statistics and examples of every component, accumulated batch by batch."""
