"""Microaneurysms by a small network whose overlapping patches vote on every pixel."""
