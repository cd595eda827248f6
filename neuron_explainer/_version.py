"""The version, in one place: setup.cfg, the documents and `ne.__version__` read it from here."""

__version__ = "0.1.0"
