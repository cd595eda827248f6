"""Measurements, each a module of its own (`python -m benchmarks.bench_models`), and what they share."""
