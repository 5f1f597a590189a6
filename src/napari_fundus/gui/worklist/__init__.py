"""The worklist: a folder of photographs analysed, looked at, corrected and exported."""

from __future__ import annotations

from napari_fundus.gui.worklist.widget import WorklistWidget

__all__ = ["WorklistWidget"]
