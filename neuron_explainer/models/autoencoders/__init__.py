"""Sparse autoencoders and transcoders: the modules, and the file formats that they are read from."""
