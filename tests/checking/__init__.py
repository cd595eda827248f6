"""Tests of `ne.check`."""
