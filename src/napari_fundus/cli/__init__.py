"""The command ``napari-fundus``: a thin face of the library, quick to answer ``--help``."""

from __future__ import annotations

from napari_fundus.cli.app import app, main

__all__ = ["app", "main"]
