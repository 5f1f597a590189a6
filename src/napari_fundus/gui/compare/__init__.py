"""The widget *Compare two results*: where two detectors, or two checkpoints, agree."""

from __future__ import annotations

from napari_fundus.gui.compare.widget import CompareWidget

__all__ = ["CompareWidget"]
