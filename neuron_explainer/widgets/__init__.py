"""ipywidgets over the views: state and events."""
