"""Path patching: what a node sends to another one directly, past everything between them."""
