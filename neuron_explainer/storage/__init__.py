"""Bytes from the network, the disk cache and local files."""
