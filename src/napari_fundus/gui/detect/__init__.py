"""The widget *Detect lesions*."""

from __future__ import annotations

from napari_fundus.gui.detect.widget import DetectWidget

__all__ = ["DetectWidget"]
