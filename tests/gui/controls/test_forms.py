"""A form shows every field of a model as it is described, and gives its values back."""

from __future__ import annotations

import shutil
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field
from qtpy.QtWidgets import QLabel, QWidget

from napari_fundus.backends.voting.options import VotingOptions
from napari_fundus.checkpoints import bundled_folder
from napari_fundus.detector import DetectorOptions
from napari_fundus.errors import OptionsError
from napari_fundus.gui.controls.edits import JsonEdit
from napari_fundus.gui.controls.forms import ModelForm
from napari_fundus.plugins import find_detectors
from napari_fundus.training import TrainingSettings

pytestmark = pytest.mark.gui


class Shape(Enum):
    LINE = "line"
    DISC = "disc"


class Inner(BaseModel):
    depth: int = Field(3, ge=1, le=9, title="Depth")


class Everything(DetectorOptions):
    """Options of a stranger's detector, with every kind of field."""

    sigma: float = Field(
        2.5,
        gt=0,
        le=50,
        title="Sigma",
        description="Width of the blur.",
        json_schema_extra={"unit": "px"},
    )
    rate: float = 1e-5
    free: float = 123456.75
    tiles: int = Field(256, ge=8, multiple_of=8, title="Tile size")
    seed: int = 2**40
    flip: bool = True
    title: str = "a name"
    mode: Literal["mean", "max", 3] = "max"
    shape: Shape = Shape.DISC
    limit: float | None = Field(None, ge=0, le=9)
    bounded: Annotated[int, Field(ge=1, le=7)] | None = 4
    weights: tuple[float, ...] = (1.0, 0.5)
    extra: dict[str, int] = Field({"a": 1})
    either: int | str = "x"
    nested: Inner = Inner()
    hidden: int = Field(5, json_schema_extra={"advanced": True})


def is_hidden(form: ModelForm, name: str) -> bool:
    """Whether a field's row, label included, is hidden."""
    control: QWidget = form.editors[name].native
    return not control.isVisibleTo(form.native)


@pytest.fixture
def make_form(qtbot):
    def make(model: type[BaseModel], *args: Any, **kwargs: Any) -> ModelForm:
        form = ModelForm(model, *args, **kwargs)
        qtbot.addWidget(form.native)
        return form

    return make


@pytest.fixture
def form(make_form) -> ModelForm:
    return make_form(Everything)


def test_an_untouched_form_gives_the_defaults_to_the_last_digit(form):
    assert form.instance() == Everything()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", 0.123),
        ("min_area", 40),
        ("sigma", 0.0004),
        ("rate", 3e-7),
        ("free", -9.0),
        ("tiles", 512),
        ("seed", -(2**36)),
        ("flip", False),
        ("title", ""),
        ("mode", 3),
        ("mode", "mean"),
        ("shape", Shape.LINE),
        ("limit", 0.5),
        ("bounded", None),
        ("weights", (2.0,)),
        ("extra", {}),
        ("either", 7),
        ("nested", Inner(depth=8)),
        ("hidden", 6),
    ],
)
def test_a_value_shown_comes_back_the_same(form, name, value):
    form.set_values({name: value})
    assert getattr(form.instance(), name) == value
    form.reset()
    assert form.instance() == Everything()


def test_labels_tooltips_units_and_bounds_come_from_the_fields(form):
    labels = {label.text() for label in form.native.findChildren(QLabel)}
    assert {"Sigma", "Tile size", "Threshold", "Minimum area", "Free"} <= labels
    sigma = form.editors["sigma"]
    assert "Width of the blur." in sigma.tooltip
    assert "50 px" in sigma.tooltip
    assert sigma.control.suffix() == " px"
    assert sigma.control.maximum() == 50
    tiles = form.editors["tiles"]
    assert (tiles.min, tiles.step) == (8, 8)
    bounded = form.editors["bounded"].inner
    assert (bounded.min, bounded.max) == (1, 7)


def test_a_value_out_of_bounds_cannot_be_entered(form):
    form.editors["sigma"].control.setValue(1000)
    assert form.instance().sigma == 50


def test_what_only_the_model_can_refuse_is_said_with_the_field_s_title(form):
    form.editors["tiles"].value = 9
    with pytest.raises(OptionsError, match=r"Tile size: .*multiple of 8"):
        form.instance()


def test_a_type_without_a_control_takes_json_and_reports_nonsense(form):
    editor = form.editors["weights"]
    assert isinstance(editor, JsonEdit)
    editor.native.setText("[1, 2")
    with pytest.raises(OptionsError, match="Weights"):
        form.instance()


def test_a_change_by_the_user_is_signalled_once(form):
    seen: list[Any] = []
    form.changed.connect(seen.append)
    form.editors["tiles"].native.setValue(64)
    assert seen == [form]


@pytest.mark.parametrize("name", list(find_detectors().detectors))
def test_every_installed_detector_s_options_survive_the_form(make_form, name):
    model: Any = find_detectors().detectors[name].Options
    assert make_form(model).instance() == model()


def test_weights_are_chosen_from_those_known_now_or_typed(make_form, monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_FUNDUS_MODELS", str(tmp_path))
    form = make_form(VotingOptions)
    editor = form.editors["checkpoint"]
    assert form.values()["checkpoint"] == "voting-idrid"
    assert editor.control.names() == ["voting-idrid"]
    shutil.copy(bundled_folder() / "voting-idrid.safetensors", tmp_path / "mine.safetensors")
    editor.control.refresh()
    assert editor.control.names() == ["voting-idrid", "mine"]
    assert form.values()["checkpoint"] == "voting-idrid", "a new list changes no choice"
    editor.control.setCurrentIndex(1)
    assert form.instance().checkpoint == "mine"
    editor.control.setEditText("/else/where.safetensors")
    assert form.instance().checkpoint == "/else/where.safetensors"


def test_fields_can_be_left_out_and_hidden(make_form):
    form = make_form(TrainingSettings, {"batch_size": 7}, exclude={"scheme"})
    assert "scheme" not in form.editors
    form.set_fields_visible({"batch_size", "scheme"}, shown=False)
    assert is_hidden(form, "batch_size")
    assert form.instance().batch_size == 7
    form.reset()
    assert form.instance() == TrainingSettings()
