"""From a pydantic model to a magicgui form and back: fields give labels, tooltips and bounds."""

from __future__ import annotations

import datetime as dt
import types
from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from magicgui.widgets import Container, create_widget
from magicgui.widgets.bases import ButtonWidget, ValuedContainerWidget
from napari.settings import get_settings
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from qtpy.QtGui import QFontMetrics
from qtpy.QtWidgets import QAbstractSpinBox, QApplication, QLabel, QVBoxLayout

from napari_fundus.errors import OptionsError
from napari_fundus.gui.controls.collapsible import collapsible_box
from napari_fundus.gui.controls.edits import (
    CheckpointEdit,
    JsonEdit,
    NumberEdit,
    OptionalEdit,
    PathEdit,
    show_value,
)
from napari_fundus.gui.controls.fields import (
    field_bounds,
    field_extra,
    field_title,
    field_tooltip,
)

_UNBOUNDED = 2**64

_THEME_STRETCH = 1.2
"""How much wider napari's theme makes a label than its font does."""

_WARNING = "color: #c8730f; font-weight: bold;"
"""Orange with a contrast of 3 : 1 or more with napari's dark and light ground."""


class ModelForm(ValuedContainerWidget[BaseModel]):
    """A magicgui form for any pydantic model, those of third parties included.

    magicgui makes the controls, with the widget types of :mod:`.edits` where it has none; a type
    that neither knows gets a line that takes JSON. Nested models get a form of their own. Fields
    with ``json_schema_extra={"advanced": True}`` are behind "More options"; text with
    ``{"checkpoint_of": DETECTOR}`` is a choice of that detector's weights. What pydantic refuses is
    said below the field as soon as it is entered.

    Parameters
    ----------
    model
        The class.
    values
        What differs from the defaults.
    exclude
        Fields without a control.
    """

    def __init__(
        self,
        model: type[BaseModel],
        values: Mapping[str, Any] | None = None,
        *,
        exclude: Collection[str] = (),
        **kwargs: Any,
    ) -> None:
        self.model = model
        self.editors: dict[str, Any] = {
            name: _make_editor(name, field)
            for name, field in model.model_fields.items()
            if name not in exclude
        }
        self._problem_labels: dict[str, QLabel] = {}
        nested = [e for e in self.editors.values() if isinstance(e, ModelForm)]
        rows = [e for e in self.editors.values() if not isinstance(e, ModelForm)]
        folded = [e for e in rows if field_extra(model.model_fields[e.name]).get("advanced")]
        shown = [editor for editor in rows if editor not in folded]
        super().__init__(widgets=shown, labels=True, **kwargs)
        self.margins = (0, 0, 0, 0)
        for form in nested:
            box = collapsible_box(form.label, form.native)
            box.expand(animate=False)
            self.native.layout().addWidget(box)
        if folded:
            more = Container(widgets=folded)
            more.margins = (0, 0, 0, 0)
            self.native.layout().addWidget(collapsible_box("More options", more.native))
        for column in (shown, folded):
            _align_labels([row for row in column if not isinstance(row, ButtonWidget)])
        for editor in self.editors.values():
            editor.changed.connect(self._on_changed)
        self.set_values({**self.defaults(), **dict(values or {})})

    def _on_changed(self) -> None:
        self._show_problems(self._validate()[1])
        self.changed.emit(self)

    def values(self) -> dict[str, Any]:
        """Return what the form shows, by field name, valid or not."""
        return {
            name: editor.values() if isinstance(editor, ModelForm) else editor.value
            for name, editor in self.editors.items()
        }

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Show `values`; fields left out keep theirs."""
        with self.changed.blocked():
            for name, value in values.items():
                show_value(self.editors[name], value)
        self._on_changed()

    def reset(self) -> None:
        """Show the defaults."""
        self.set_values(self.defaults())

    def defaults(self) -> dict[str, Any]:
        """Return the defaults of the fields shown; None for one that has none."""
        usual = self.model.model_construct()
        return {name: getattr(usual, name, None) for name in self.editors}

    def set_fields_visible(self, names: Collection[str], *, shown: bool) -> None:
        """Show or hide fields; hidden ones keep their values."""
        for name in names:
            if name in self.editors:
                self.editors[name].visible = shown

    def instance(self) -> Any:
        """Return the model's instance.

        Raises
        ------
        OptionsError
            A value does not fit; the message names the field as the form does.
        """
        instance, problems = self._validate()
        if instance is not None:
            return instance
        fields = self.model.model_fields
        titles = {name: field_title(name, field) for name, field in fields.items()}
        raise OptionsError(
            " ".join(f"{titles.get(name, 'Options')}: {text}" for name, text in problems.items())
        )

    get_value = instance

    def set_value(self, value: Any) -> None:
        """Show an instance of the model, or a mapping of its fields."""
        self.set_values({n: v for n, v in dict(value).items() if n in self.editors})

    def _validate(self) -> tuple[BaseModel | None, dict[str, str]]:
        """Return the model's instance, or None and what is wrong with each field."""
        try:
            return self.model.model_validate(self.values()), {}
        except ValidationError as error:
            problems: dict[str, str] = {}
            for problem in error.errors():
                name = str(problem["loc"][0]) if problem["loc"] else ""
                problems.setdefault(name, problem["msg"].removeprefix("Value error, ") + ".")
            return None, problems

    def _show_problems(self, problems: Mapping[str, str]) -> None:
        """Say below each field what is wrong with it; what concerns several, at the end."""
        for name in {*problems, *self._problem_labels}:
            editor = self.editors.get(name)
            if isinstance(editor, ModelForm):
                continue
            if name not in self._problem_labels:
                label = self._problem_labels[name] = QLabel()
                label.setWordWrap(True)
                label.setStyleSheet(_WARNING)
                row, column = None, self.native.layout()
                if editor is not None:
                    row = editor.native
                    while not isinstance(column := row.parentWidget().layout(), QVBoxLayout):
                        row = row.parentWidget()
                column.insertWidget(column.indexOf(row) + 1 if row else column.count(), label)
            self._problem_labels[name].setText(problems.get(name, ""))
            self._problem_labels[name].setVisible(name in problems)


def _align_labels(rows: Iterable[Any]) -> None:
    """Give labels one width; magicgui measures without napari's theme, which makes them wider."""
    font = QApplication.font()
    font.setPointSize(get_settings().appearance.font_size)
    width = max((QFontMetrics(font).horizontalAdvance(row.label) for row in rows), default=0)
    for row in rows:
        label = row.native.parentWidget().layout().itemAt(0).widget()
        label.setMinimumWidth(round(_THEME_STRETCH * width))


def _make_editor(name: str, field: FieldInfo) -> Any:
    """Return the magicgui widget for a field."""
    annotation = _with_options(field.annotation, field.metadata, field_extra(field))
    editor = create_widget(annotation=annotation, name=name, label=field_title(name, field))
    editor.tooltip = field_tooltip(field)
    editor.native.setObjectName(name)
    editor.native.setAccessibleName(editor.label)
    for box in (editor.native, *editor.native.findChildren(QAbstractSpinBox)):
        if isinstance(box, QAbstractSpinBox):
            box.setKeyboardTracking(False)
    return editor


def _with_options(annotation: Any, metadata: Iterable[Any], extra: Mapping[str, Any]) -> Any:
    """Return a field's type with the options from which magicgui makes its widget."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = FieldInfo.from_annotation(annotation)
        extra = {**field_extra(inner), **extra}
        return _with_options(inner.annotation, [*metadata, *inner.metadata], extra)
    if origin in (Union, types.UnionType) and len(args) == 2 and type(None) in args:
        inner = _with_options(next(a for a in args if a is not type(None)), metadata, extra)
        return Annotated[object, {"widget_type": OptionalEdit, "inner": inner}]
    if origin is tuple and Ellipsis not in args:
        return types.GenericAlias(tuple, tuple(_with_options(kind, (), {}) for kind in args))
    if origin is list and (get_origin(args[0]) is Literal or _is_a(args[0], Enum)):
        items = types.GenericAlias(list, (_with_options(args[0], (), {}),))
        return Annotated[items, {"layout": "vertical"}]
    if annotation is int or annotation is float:
        return _number_with_options(annotation, field_bounds(metadata), extra)
    if annotation is str and "checkpoint_of" in extra:
        options = {"widget_type": CheckpointEdit, "detector": str(extra["checkpoint_of"])}
        return Annotated[str, options]
    if _is_a(annotation, Enum):
        choices = {"choices": list(annotation), "key": lambda member: str(member.value)}
        return Annotated[annotation, {"choices": choices}]
    if _is_a(annotation, BaseModel):
        return Annotated[annotation, {"widget_type": ModelForm, "model": annotation}]
    if _is_a(annotation, Path):
        return Annotated[Path, {"widget_type": PathEdit}]
    if origin is Literal or annotation in (bool, str, dt.date):
        return annotation
    return Annotated[object, {"widget_type": JsonEdit}]


def _number_with_options(kind: type, bounds: Mapping[str, float], extra: Mapping[str, Any]) -> Any:
    """Return int or float with its bounds: magicgui's own where there is no unit to show."""
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    whole, unit = kind is int, str(extra.get("unit", ""))
    options: dict[str, Any] = {"step": bounds.get("multiple_of", 1 if whole else None)}
    if whole:
        low = -_UNBOUNDED if low is None else int(low + ("ge" not in bounds))
        high = _UNBOUNDED if high is None else int(high - ("le" not in bounds))
    if whole and not unit:
        return Annotated[int, {**options, "min": low, "max": high}]
    options |= {"low": low, "high": high, "whole": whole}
    options |= {"unit": unit, "lowest": str(extra.get("zero", ""))}
    return Annotated[kind, {"widget_type": NumberEdit, **options}]


def _is_a(annotation: Any, kind: type) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, kind)
