"""Measurements of speed and accuracy; each module runs with ``python -m benchmarks.NAME``."""
