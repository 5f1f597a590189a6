"""From a pydantic model to a form and back: its fields give labels, tooltips, bounds, units."""

# mypy: disable-error-code="misc"
from __future__ import annotations

import json
import types
from collections.abc import Collection, Mapping
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QSpinBox,
    QWidget,
)
from superqt import QLargeIntSpinBox
from superqt.collapsible import QCollapsible

from napari_fundus.errors import OptionsError
from napari_fundus.gui.controls.checkpoint_choice import CheckpointCombo
from napari_fundus.gui.controls.fields import (
    field_bounds,
    field_extra,
    field_special_value_text,
    field_title,
    field_tooltip,
    field_unit,
    model_defaults,
)
from napari_fundus.gui.controls.spin import FloatSpinBox

__all__ = ["ModelForm"]

_UNBOUNDED = 10**15

_CONTROL_WIDTH = 112


class ModelForm(QWidget):
    """A form for any pydantic model, a stranger's included.

    float, int, bool, str, `Literal`, `Enum`, nested models and `Optional` of these get a control of
    their own; any other type a line that takes JSON. Fields with
    ``json_schema_extra={"advanced": True}`` stand behind "More options"; text with
    ``{"checkpoint_of": DETECTOR}`` is a choice of that detector's weights.

    Parameters
    ----------
    model
        The class; every field needs a default.
    values
        What differs from the defaults.
    leave_out
        Fields without a control.
    """

    changed = Signal()

    def __init__(
        self,
        model: type[BaseModel],
        values: Mapping[str, Any] | None = None,
        parent: QWidget | None = None,
        *,
        leave_out: Collection[str] = (),
    ) -> None:
        super().__init__(parent)
        self.model = model
        self.editors: dict[str, Editor] = {}
        self._labels: dict[str, QLabel] = {}
        layout = _form_layout(self)
        folded = QWidget()
        folded_layout = _form_layout(folded)
        for name, field in model.model_fields.items():
            if name in leave_out:
                continue
            advanced = bool(field_extra(field).get("advanced"))
            self._add(name, field, folded_layout if advanced else layout)
        if folded_layout.rowCount():
            more = QCollapsible("More options")
            more.addWidget(folded)
            layout.addRow(more)
        else:
            folded.deleteLater()
        self.set_values({**self.defaults(), **dict(values or {})})

    def _add(self, name: str, field: FieldInfo, layout: QFormLayout) -> None:
        editor = make_editor(field.annotation, field)
        tooltip = field_tooltip(field)
        label = QLabel(field_title(name, field))
        label.setToolTip(tooltip)
        editor.setToolTip(tooltip)
        editor.setObjectName(name)
        editor.setAccessibleName(field_title(name, field))
        editor.changed.connect(self.changed)
        if isinstance(editor, NestedEditor):
            layout.addRow(label)
            layout.addRow(editor)
        else:
            layout.addRow(label, editor)
        self.editors[name] = editor
        self._labels[name] = label

    def values(self) -> dict[str, Any]:
        """Return what the form shows, by field name."""
        return {name: editor.value() for name, editor in self.editors.items()}

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Show `values`; fields left out keep theirs."""
        for name, value in values.items():
            self.editors[name].set_value(value)

    def reset(self) -> None:
        """Show the defaults."""
        self.set_values(self.defaults())

    def defaults(self) -> dict[str, Any]:
        """Return the defaults of the fields shown."""
        defaults = model_defaults(self.model)
        return {name: value for name, value in defaults.items() if name in self.editors}

    def set_fields_visible(self, names: Collection[str], *, shown: bool) -> None:
        """Show or hide fields; hidden ones keep their values."""
        for name in names:
            if name in self.editors:
                self._labels[name].setVisible(shown)
                self.editors[name].setVisible(shown)

    def instance(self) -> Any:
        """Return the model's instance.

        Raises
        ------
        OptionsError
            A value does not fit; the message names the field as the form does.
        """
        try:
            return self.model.model_validate(self.values())
        except ValidationError as error:
            problems = []
            for problem in error.errors():
                name = str(problem["loc"][0]) if problem["loc"] else ""
                field = self.model.model_fields.get(name)
                title = field_title(name, field) if field else "Options"
                problems.append(f"{title}: {problem['msg']}.")
            raise OptionsError(" ".join(problems)) from None


def _form_layout(parent: QWidget) -> QFormLayout:
    layout = QFormLayout(parent)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    layout.setRowWrapPolicy(QFormLayout.RowWrapPolicy.DontWrapRows)
    layout.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
    return layout


class Editor(QWidget):
    """One field's control: shows a value and gives it back."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.row = QHBoxLayout(self)
        self.row.setContentsMargins(0, 0, 0, 0)

    def _put(self, control: QWidget) -> None:
        control.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        # napari's theme gives spin boxes no room for their unit.
        control.setMinimumWidth(_CONTROL_WIDTH)
        self.row.addWidget(control)

    def value(self) -> Any:
        """Return the value shown."""
        raise NotImplementedError

    def set_value(self, value: Any) -> None:
        """Show `value`."""
        raise NotImplementedError


class FloatEditor(Editor):
    """A number with a fraction."""

    def __init__(self, field: FieldInfo) -> None:
        super().__init__()
        bounds = field_bounds(field)
        self.control = FloatSpinBox(
            low=bounds.get("ge", bounds.get("gt")), high=bounds.get("le", bounds.get("lt"))
        )
        if unit := field_unit(field):
            self.control.setSuffix(f" {unit}")
        self.control.setSpecialValueText(field_special_value_text(field))
        self.control.valueChanged.connect(lambda _: self.changed.emit())
        self._put(self.control)

    def value(self) -> float:
        return float(self.control.exact())

    def set_value(self, value: Any) -> None:
        self.control.set_exact(float(value if value is not None else 0))


class IntEditor(Editor):
    """A whole number of any size."""

    def __init__(self, field: FieldInfo) -> None:
        super().__init__()
        bounds = field_bounds(field)
        low = bounds["gt"] + 1 if "gt" in bounds else bounds.get("ge", -_UNBOUNDED)
        high = bounds["lt"] - 1 if "lt" in bounds else bounds.get("le", _UNBOUNDED)
        bounded = ("ge" in bounds or "gt" in bounds) and ("le" in bounds or "lt" in bounds)
        # Qt's own spin box holds 32 bits; the large one knows no unit.
        self.control = QSpinBox() if bounded and max(-low, high) < 2**31 else QLargeIntSpinBox()
        self.control.setRange(int(low), int(high))
        self.control.setSingleStep(int(bounds.get("multiple_of", 1)))
        self.control.setKeyboardTracking(False)
        self.control.valueChanged.connect(lambda *_: self.changed.emit())
        self._put(self.control)
        unit = field_unit(field)
        if unit and isinstance(self.control, QSpinBox):
            self.control.setSuffix(f" {unit}")
        elif unit:
            self.row.addWidget(QLabel(unit))

    def value(self) -> int:
        return int(self.control.value())

    def set_value(self, value: Any) -> None:
        self.control.setValue(int(value if value is not None else 0))


class BoolEditor(Editor):
    """A tick."""

    def __init__(self) -> None:
        super().__init__()
        self.control = QCheckBox()
        self.control.toggled.connect(lambda _: self.changed.emit())
        self._put(self.control)

    def value(self) -> bool:
        return bool(self.control.isChecked())

    def set_value(self, value: Any) -> None:
        self.control.setChecked(bool(value))


class ChoiceEditor(Editor):
    """One of a few values: `Literal` or `Enum`."""

    def __init__(self, choices: list[Any]) -> None:
        super().__init__()
        self.choices = choices
        self.control = QComboBox()
        for choice in choices:
            self.control.addItem(str(choice.value if isinstance(choice, Enum) else choice))
        self.control.currentIndexChanged.connect(lambda _: self.changed.emit())
        self._put(self.control)

    def value(self) -> Any:
        return self.choices[self.control.currentIndex()]

    def set_value(self, value: Any) -> None:
        for index, choice in enumerate(self.choices):
            if choice == value or (isinstance(choice, Enum) and choice.value == value):
                self.control.setCurrentIndex(index)
                return


class TextEditor(Editor):
    """A line of text; of JSON where the type has no control of its own."""

    def __init__(self, *, as_json: bool = False) -> None:
        super().__init__()
        self.as_json = as_json
        self.control = QLineEdit()
        self.control.textChanged.connect(lambda _: self.changed.emit())
        self._put(self.control)

    def value(self) -> Any:
        text = self.control.text()
        if not self.as_json:
            return text
        try:
            return json.loads(text) if text.strip() else None
        except json.JSONDecodeError:
            return text

    def set_value(self, value: Any) -> None:
        if self.as_json:
            self.control.setText("" if value is None else json.dumps(value, default=_json_default))
        else:
            self.control.setText("" if value is None else str(value))


def _json_default(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return str(value)


class CheckpointEditor(Editor):
    """Weights by name or path."""

    def __init__(self, detector: str) -> None:
        super().__init__()
        self.control = CheckpointCombo(detector)
        self.control.editTextChanged.connect(lambda _: self.changed.emit())
        self._put(self.control)

    def value(self) -> str:
        return str(self.control.currentText()).strip()

    def set_value(self, value: Any) -> None:
        self.control.setEditText("" if value is None else str(value))


class OptionalEditor(Editor):
    """A control that can be switched off, which means None."""

    def __init__(self, inner: Editor) -> None:
        super().__init__()
        self.inner = inner
        self.switch = QCheckBox()
        self.switch.setToolTip("Not ticked: left to the method")
        self.switch.toggled.connect(inner.setEnabled)
        self.switch.toggled.connect(lambda _: self.changed.emit())
        inner.changed.connect(self.changed)
        inner.setEnabled(False)
        self.row.addWidget(self.switch)
        self.row.addWidget(inner, 1)

    def value(self) -> Any:
        return self.inner.value() if self.switch.isChecked() else None

    def set_value(self, value: Any) -> None:
        self.switch.setChecked(value is not None)
        if value is not None:
            self.inner.set_value(value)


class NestedEditor(Editor):
    """A model inside a model: a form inside the form."""

    def __init__(self, model: type[BaseModel]) -> None:
        super().__init__()
        self.form = ModelForm(model)
        self.form.changed.connect(self.changed)
        self.row.setContentsMargins(12, 0, 0, 0)
        self.row.addWidget(self.form)

    def value(self) -> dict[str, Any]:
        return self.form.values()

    def set_value(self, value: Any) -> None:
        if value is None:
            self.form.reset()
        elif isinstance(value, BaseModel):
            self.form.set_values({name: getattr(value, name) for name in type(value).model_fields})
        else:
            self.form.set_values(value)


def make_editor(annotation: Any, field: FieldInfo) -> Editor:
    """Return the control for a field of the type `annotation`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return make_editor(get_args(annotation)[0], field)
    if origin in (Union, types.UnionType):
        rest = [kind for kind in get_args(annotation) if kind is not type(None)]
        if len(rest) == 1 and len(get_args(annotation)) == 2:
            return OptionalEditor(make_editor(rest[0], _inner_field(rest[0], field)))
        return TextEditor(as_json=True)
    if origin is Literal:
        return ChoiceEditor(list(get_args(annotation)))
    if isinstance(annotation, type):
        if issubclass(annotation, Enum):
            return ChoiceEditor(list(annotation))
        if issubclass(annotation, BaseModel):
            return NestedEditor(annotation)
        if annotation is bool:
            return BoolEditor()
        if annotation is int:
            return IntEditor(field)
        if annotation is float:
            return FloatEditor(field)
        if annotation is str:
            if detector := field_extra(field).get("checkpoint_of"):
                return CheckpointEditor(str(detector))
            return TextEditor()
    return TextEditor(as_json=True)


def _inner_field(annotation: Any, field: FieldInfo) -> FieldInfo:
    """Return a field with the bounds inside ``Annotated[...] | None`` added to the outer ones."""
    if get_origin(annotation) is not Annotated:
        return field
    inner = FieldInfo.from_annotation(annotation)
    inner.metadata = [*field.metadata, *inner.metadata]
    inner.json_schema_extra = field.json_schema_extra or inner.json_schema_extra
    return inner
