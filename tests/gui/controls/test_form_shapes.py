"""Any field that pydantic can describe gives a usable control: it shows, reads back, refuses."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Field, model_validator
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractSpinBox, QDoubleSpinBox, QLabel, QLineEdit

from napari_fundus.detector import DetectorOptions
from napari_fundus.errors import OptionsError
from napari_fundus.gui.controls.edits import JsonEdit
from napari_fundus.gui.controls.forms import ModelForm

pytestmark = pytest.mark.gui


class Stain(Enum):
    NONE = "none"
    GREEN = "green"


class Filter(BaseModel):
    sigma: float = Field(1.5, gt=0)
    kind: Literal["gauss", "median"] = "gauss"


def _even(value: int) -> int:
    if value % 2:
        raise ValueError("choose an even number")
    return value


class Strange(DetectorOptions):
    """Options as another distribution may describe them: a shape of field in each line."""

    switch: bool = False
    count: int = Field(3, gt=0, lt=10)
    share: float = Field(0.25, gt=0, lt=1)
    free: float = 0.1
    mode: Literal["slow", "fast", 2] = "fast"
    stain: Stain = Stain.NONE
    name: str = Field("eye", min_length=2)
    model: Path = Path("weights/a.pt")
    window: tuple[float, float] = (0.1, 0.9)
    rates: tuple[float, ...] = (0.001, 1e-7)
    weights: dict[str, float] = Field({"MA": 2.5}, description="Weight of each class.")
    limit: int | None = Field(None, ge=1)
    inner: Filter = Filter()
    even: Annotated[int, Field(ge=0), AfterValidator(_even)] = 4
    stages: list[Literal["fine", "coarse"]] = ["fine", "coarse"]
    day: dt.date = dt.date(2020, 2, 29)
    wait: dt.timedelta = dt.timedelta(days=2, milliseconds=5)
    exact: Decimal = Decimal("0.10")
    either: int | str = "x"
    tags: set[str] = {"a"}
    optional_stain: Stain | None = None

    @model_validator(mode="after")
    def _agree(self) -> Strange:
        if self.window[0] > self.window[1]:
            raise ValueError("the window ends before it begins")
        return self


VALUES: dict[str, Any] = {
    "switch": True,
    "count": 9,
    "share": 0.1 + 0.2,
    "free": -1 / 3,
    "mode": 2,
    "stain": Stain.GREEN,
    "name": "Auge ä",
    "model": Path("/else/b.pt"),
    "window": (1e-9, math.pi),
    "rates": (1.0, 2.0, 3e-12),
    "weights": {"EX": 1 / 3, "MA": 0.0},
    "limit": 7,
    "inner": Filter(sigma=0.3, kind="median"),
    "even": 10**15,
    "stages": ["coarse", "coarse", "fine"],
    "day": dt.date(1999, 12, 31),
    "wait": dt.timedelta(seconds=1),
    "exact": Decimal("12.125"),
    "either": 12,
    "tags": {"b", "c"},
    "optional_stain": Stain.GREEN,
}


@pytest.fixture
def form(qtbot) -> ModelForm:
    form = ModelForm(Strange)
    qtbot.addWidget(form.native)
    return form


def shown_problems(form: ModelForm) -> list[str]:
    """Return what the form says is wrong, from top to bottom."""
    labels = form.native.findChildren(QLabel)
    return [x.text() for x in labels if x.wordWrap() and x.text() and not x.isHidden()]


def test_every_shape_of_field_is_tried() -> None:
    assert set(VALUES) == set(Strange.model_fields) - set(DetectorOptions.model_fields)


def test_an_untouched_form_gives_the_defaults(form) -> None:
    assert form.instance() == Strange()
    assert shown_problems(form) == []


@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_shown_and_read_back_exactly(form, name) -> None:
    assert VALUES[name] != getattr(Strange(), name)
    form.set_values({name: VALUES[name]})
    assert getattr(form.instance(), name) == VALUES[name]
    form.reset()
    assert form.instance() == Strange()


@pytest.mark.parametrize(
    ("name", "enter", "message"),
    [
        ("share", lambda e: e.control.setValue(0), "greater than 0"),
        ("name", lambda e: e.native.setText("x"), "at least 2 characters"),
        ("rates", lambda e: e.native.setText('["many"]'), "valid number"),
        ("weights", lambda e: e.native.setText("{MA: 2}"), "valid dictionary"),
        ("wait", lambda e: e.native.setText("soon"), "timedelta"),
        ("exact", lambda e: e.native.setText("a tenth"), "decimal"),
        ("tags", lambda e: e.native.setText("3"), "valid set"),
        ("even", lambda e: e.native.setValue(5), "choose an even number"),
        ("inner", lambda e: e.editors["sigma"].control.setValue(0), "greater than 0"),
    ],
)
def test_what_the_model_refuses_is_said_below_the_field_until_it_fits(
    form, name, enter, message
) -> None:
    enter(form.editors[name])
    with pytest.raises(OptionsError, match=message) as caught:
        form.instance()
    assert str(caught.value).startswith(form.editors[name].label + ": ")
    (said,) = shown_problems(form)
    assert message in said
    form.reset()
    assert shown_problems(form) == []
    assert form.instance() == Strange()


def test_what_concerns_several_fields_is_said_at_the_end(form) -> None:
    form.set_values({"window": (0.9, 0.1)})
    assert shown_problems(form) == ["the window ends before it begins."]
    with pytest.raises(OptionsError, match="Options: the window ends"):
        form.instance()


@pytest.mark.parametrize("name", ["count", "limit"])
def test_whole_numbers_stop_at_exclusive_bounds(form, name) -> None:
    editor = form.editors[name]
    box = editor.native if name == "count" else editor.inner.native
    box.setValue(-5)
    assert box.value() == 1


def test_a_type_that_magicgui_does_not_know_is_a_line_of_json(form) -> None:
    lines = {name for name, editor in form.editors.items() if isinstance(editor, JsonEdit)}
    assert lines == {"rates", "weights", "wait", "exact", "either", "tags"}


def test_each_control_is_reached_and_changed_by_the_keyboard(form, qtbot) -> None:
    for box in form.native.findChildren(QAbstractSpinBox) + form.native.findChildren(QLineEdit):
        assert box.focusPolicy() & Qt.FocusPolicy.TabFocus
    box = form.editors["free"].control
    assert isinstance(box, QDoubleSpinBox)
    box.selectAll()
    qtbot.keyClicks(box, "0.00012345678901234")
    qtbot.keyClick(box, Qt.Key.Key_Return)
    assert form.instance().free == 0.00012345678901234
    form.set_values({"free": 0.1})
    for _ in range(3):
        qtbot.keyClick(box, Qt.Key.Key_Up)
    assert form.instance().free == 0.13
    qtbot.keyClick(form.editors["switch"].native, Qt.Key.Key_Space)
    assert form.instance().switch


def test_numbers_out_of_the_bounds_of_a_careless_model_open_all_the_same(qtbot) -> None:
    class Careless(BaseModel):
        count: int = Field(99, le=10)
        needed: int
        text: str

    form = ModelForm(Careless)
    qtbot.addWidget(form.native)
    assert form.values() == {"count": 10, "needed": 0, "text": ""}
