"""Language models that are asked to explain, to simulate and to judge."""
