"""Inference on whole pictures: patch voting, overlapping tiles, fusion of maps."""
