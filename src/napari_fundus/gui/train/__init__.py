"""The widget *Train or fine-tune*: choose method, data and settings, train, and watch it."""

from __future__ import annotations

from napari_fundus.gui.train.widget import TrainWidget

__all__ = ["TrainWidget"]
