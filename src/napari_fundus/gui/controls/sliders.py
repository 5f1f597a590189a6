"""The rows of a result: each class with its count and threshold, and the minimum area."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QSizePolicy, QSlider, QSpinBox, QWidget
from superqt.utils import signals_blocked

from napari_fundus.gui.controls.layouts import colour_chip
from napari_fundus.gui.controls.number_spin_box import NumberSpinBox
from napari_fundus.lesions import describe
from napari_fundus.results.quantification import format_percent, is_lesion_class

_STEPS = 1000
_AREAS = np.unique(np.rint(np.geomspace(1, 20_000, 80)).astype(int))
_SPIN_WIDTH = 84


class ClassRow(QWidget):
    """The row of a class: colour, name, number of lesions, and a slider of its threshold."""

    changed = Signal(float)

    def __init__(self, code: str, threshold: float) -> None:
        super().__init__()
        info = describe(code)
        self.code = code
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 2, 0, 2)
        layout.setVerticalSpacing(1)
        title = info.plural if is_lesion_class(code) else info.name
        self.name = QLabel(title[:1].upper() + title[1:])
        self.name.setToolTip(f"{info.code}: {info.name}")
        self.count = QLabel()
        self.count.setAlignment(Qt.AlignmentFlag.AlignRight)
        head = QHBoxLayout()
        head.setSpacing(6)
        head.addWidget(colour_chip(info.colour))
        head.addWidget(self.name, 1)
        head.addWidget(self.count)
        layout.addLayout(head, 0, 0, 1, 2)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, _STEPS)
        self.spin = NumberSpinBox(0, 1)
        self.spin.setFixedWidth(_SPIN_WIDTH)
        for control in (self.slider, self.spin):
            control.setToolTip("Threshold: pixels of at least this probability belong to a lesion")
            control.setAccessibleName(f"Threshold of {info.plural}")
        layout.addWidget(self.slider, 1, 0)
        layout.addWidget(self.spin, 1, 1)
        self.spin.setValue(threshold)
        self.slider.setValue(round(threshold * _STEPS))
        self.slider.valueChanged.connect(self._on_slider)
        self.spin.valueChanged.connect(self._on_typed)

    def _on_slider(self, position: int) -> None:
        with signals_blocked(self.spin):
            self.spin.setValue(position / _STEPS)
        self.changed.emit(position / _STEPS)

    def _on_typed(self, value: float) -> None:
        with signals_blocked(self.slider):
            self.slider.setValue(round(value * _STEPS))
        self.changed.emit(value)

    def set_count(self, count: int, percent: float | None = None) -> None:
        """Show how many lesions there are, and how much of the field of view they cover."""
        if not is_lesion_class(self.code):
            self.count.setText("found" if count else "not found")
            return
        share = "" if percent is None else f" · {format_percent(percent)} of field"
        self.count.setText(f"<b>{count}</b>{share}")
        self.count.setToolTip("Lesions" + (share and ", and their share of the field of view"))

    def set_edited(self, *, edited: bool) -> None:
        """Show whether the user changed the labels, and disable the slider if so."""
        self.slider.setEnabled(not edited)
        self.spin.setEnabled(not edited)
        if edited:
            self.count.setText("edited by hand")
        tip = "You changed these labels, so the sliders leave them as they are." if edited else ""
        self.setToolTip(tip)


class AreaRow(QWidget):
    """The minimum area of a lesion, on a logarithmic scale."""

    changed = Signal(int)

    def __init__(self, area: int) -> None:
        super().__init__()
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 2, 0, 2)
        layout.setVerticalSpacing(1)
        layout.addWidget(QLabel("Minimum area of a lesion"), 0, 0, 1, 2)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, len(_AREAS) - 1)
        self.spin = QSpinBox()
        self.spin.setRange(1, 1_000_000)
        self.spin.setSuffix(" px")
        self.spin.setKeyboardTracking(False)
        self.spin.setFixedWidth(_SPIN_WIDTH)
        self.spin.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        for control in (self.slider, self.spin):
            control.setToolTip("Smaller lesions are left out (pixels of the original image)")
            control.setAccessibleName("Minimum area of a lesion")
        layout.addWidget(self.slider, 1, 0)
        layout.addWidget(self.spin, 1, 1)
        self.spin.setValue(area)
        self.slider.setValue(int(np.searchsorted(_AREAS, area)))
        self.slider.valueChanged.connect(self._on_slider)
        self.spin.valueChanged.connect(self._on_typed)

    def _on_slider(self, position: int) -> None:
        with signals_blocked(self.spin):
            self.spin.setValue(int(_AREAS[position]))
        self.changed.emit(int(_AREAS[position]))

    def _on_typed(self, value: int) -> None:
        with signals_blocked(self.slider):
            self.slider.setValue(min(int(np.searchsorted(_AREAS, value)), len(_AREAS) - 1))
        self.changed.emit(value)
