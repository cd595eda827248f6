"""The parts of `ne.DatasetPicker` and `ne.NodePicker`: traits, moves, history, typed entries, bookmarks."""
