"""What the page shows, computed away from its widgets."""
