"""Frontend modules: they make a page quicker to use. What they offer can also be done without them."""
