"""The widget *Evaluate against truth*: what a result gets right, misses and makes up."""

from __future__ import annotations

from napari_fundus.gui.evaluate.widget import EvaluateWidget

__all__ = ["EvaluateWidget"]
