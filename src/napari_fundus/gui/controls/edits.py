"""Widget types for magicgui: what its own do not offer to the fields of a form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from magicgui.widgets import CheckBox, FileEdit, LineEdit, create_widget
from magicgui.widgets.bases import CategoricalWidget, RangedWidget, ValuedContainerWidget
from pydantic_core import to_jsonable_python
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_fundus.gui.controls.checkpoint_choice import CheckpointCombo
from napari_fundus.gui.controls.number_spin_box import NumberSpinBox

_WIDTH_WITH_UNIT = 112
"""Least width of a spin box in pixels: napari's theme leaves no room for a unit."""


def show_value(editor: Any, value: Any) -> None:
    """Show `value` in a magicgui widget as far as it can.

    An enumeration's value stands for its member, a number out of bounds becomes the nearest one
    allowed, and what a widget cannot show leaves it as it is.
    """
    if isinstance(editor, CategoricalWidget):
        choices = (c for c in editor.choices if value in (c, getattr(c, "value", c)))
        value = next(choices, editor.value)
    elif isinstance(editor, RangedWidget) and value is not None:
        value = min(max(value, editor.min), editor.max)
    if value is not None or isinstance(editor, JsonEdit | OptionalEdit):
        editor.value = value


class _ControlEdit(ValuedContainerWidget[Any]):
    """A Qt control as a magicgui widget."""

    def __init__(self, control: QWidget, **kwargs: Any) -> None:
        self.control = control
        control.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        control.setAccessibleName(kwargs.get("label") or "")
        super().__init__(layout="horizontal", labels=False, **kwargs)
        self.margins = (0, 0, 0, 0)
        self.native.layout().addWidget(control)


class NumberEdit(_ControlEdit):
    """A number with its unit; a float stays as it was set or typed, to the last bit."""

    def __init__(
        self,
        *,
        low: float | None = None,
        high: float | None = None,
        step: float | None = None,
        whole: bool = False,
        unit: str = "",
        lowest: str = "",
        **kwargs: Any,
    ) -> None:
        self._type = int if whole else float
        control = NumberSpinBox(low, high, step=step, whole=whole)
        control.setSuffix(f" {unit}" if unit else "")
        control.setSpecialValueText(lowest)
        control.setMinimumWidth(_WIDTH_WITH_UNIT if unit else _WIDTH_WITH_UNIT // 2)
        super().__init__(control, **kwargs)
        control.valueChanged.connect(lambda _: self.changed.emit(self.value))

    def get_value(self) -> float:
        """Return the number shown."""
        return self._type(self.control.value())

    def set_value(self, value: Any) -> None:
        """Show `value`, or the nearest number allowed."""
        self.control.setValue(float(value))


class CheckpointEdit(_ControlEdit):
    """Weights of a detector, by name or path."""

    def __init__(self, *, detector: str, **kwargs: Any) -> None:
        super().__init__(CheckpointCombo(detector), **kwargs)
        self.control.editTextChanged.connect(lambda _: self.changed.emit(self.value))

    def get_value(self) -> str:
        """Return the name or the path."""
        return str(self.control.currentText()).strip()

    def set_value(self, value: Any) -> None:
        """Show a name or a path."""
        self.control.setEditText(str(value))


class PathEdit(FileEdit):
    """A file, as it is written: magicgui's own makes each path absolute."""

    def set_value(self, value: Any) -> None:
        """Show a path."""
        self.line_edit.value = str(Path(value))


class JsonEdit(LineEdit):
    """A value of any type as a line of JSON."""

    def get_value(self) -> Any:
        """Return the value, or the text itself where it is not JSON; None where it is empty."""
        text = super().get_value().strip()
        try:
            return json.loads(text) if text else None
        except json.JSONDecodeError:
            return text

    def set_value(self, value: Any) -> None:
        """Show `value`."""
        text = json.dumps(to_jsonable_python(value), ensure_ascii=False)
        super().set_value("" if value is None else text)
        self.native.setCursorPosition(0)


class OptionalEdit(ValuedContainerWidget[Any]):
    """A control behind a box: not ticked, the value is None.

    Parameters
    ----------
    inner
        The annotation from which magicgui makes the control.
    """

    def __init__(self, *, inner: Any, **kwargs: Any) -> None:
        self.switch = CheckBox(tooltip="Not ticked: left to the method")
        self.inner = cast("Any", create_widget(annotation=inner, label=kwargs.get("label")))
        self.inner.enabled = False
        widgets = [self.switch, self.inner]
        super().__init__(layout="horizontal", labels=False, widgets=widgets, **kwargs)
        self.margins = (0, 0, 0, 0)
        self.native.layout().setStretch(1, 1)
        self.switch.changed.connect(self._on_switched)
        self.inner.changed.connect(lambda: self.changed.emit(self))

    def _on_switched(self) -> None:
        self.inner.enabled = self.switch.value
        self.changed.emit(self)

    def get_value(self) -> Any:
        """Return the control's value, or None."""
        return self.inner.value if self.switch.value else None

    def set_value(self, value: Any) -> None:
        """Show `value`; None takes the tick away."""
        self.switch.value = value is not None
        if value is not None:
            show_value(self.inner, value)
