"""What people use today, each in a process of its own: the same work on the same weights."""
