"""What is taken where nothing is said."""

from __future__ import annotations

DEFAULT_DETECTOR = "unet"
"""The detector of the demo, the window, the commands and ``detect``: the one with the best figures
on images that it has not seen."""
