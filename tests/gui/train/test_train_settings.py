"""What the form says is what is trained: field by field, here and through the command line."""

from __future__ import annotations

import re
import shlex
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from PIL import Image
from pydantic import BaseModel
from typer.testing import CliRunner

from napari_fundus.checkpoints import ModelCard
from napari_fundus.cli import app
from napari_fundus.errors import OptionsError
from napari_fundus.gui.controls.fields import field_bounds
from napari_fundus.gui.train.command import training_command
from napari_fundus.gui.train.session import RunRequest
from napari_fundus.gui.train.settings import SettingsForm
from napari_fundus.plugins import get_detector
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training.jobs.config import TrainingConfig
from napari_fundus.training.jobs.worker import run_training
from napari_fundus.training.loop import trainer as start
from napari_fundus.training.loop.settings import TrainingSettings

pytestmark = pytest.mark.gui

METHODS = ("voting", "unet", "cam", "multiscale")

SPECIAL: dict[str, Any] = {
    "scheme": "interleaved",
    "milestones": (3, 5),
    "lesions": ("MA",),
    "filters": (16, 32, 64),
    "class_shares": {"MA": 0.5},
    "class_weights": {"MA": 7.0},
    "lesion_weights": {"MA": 8.0},
    "encoder": "resnet50",
    "encoder_weights": "imagenet",
    "network": "torchvision:resnet18",
}

NEEDS = {
    "pretrained": {"network": "torchvision:resnet18"},
    "encoder_weights": {"kind": "smp"},
}
"""What else must be set for a field to make sense."""


def other_value(model: type[BaseModel], name: str, default: Any) -> Any:
    """Return a value within bounds that is not the default."""
    field = model.model_fields[name]
    if name in SPECIAL and not isinstance(default, bool):
        return SPECIAL[name]
    kind = field.annotation
    while get_origin(kind) is Annotated or get_origin(kind) in (Union, types.UnionType):
        kind = get_args(kind)[0]
    if isinstance(default, bool):
        return not default
    if get_origin(kind) is Literal:
        return next(choice for choice in get_args(kind) if choice != default)
    bounds = field_bounds(field.metadata)
    if isinstance(default, int):
        step = int(bounds.get("multiple_of", 1))
        high = bounds.get("le", default + step)
        return default + step if default + step <= high else default - step
    low, high = bounds.get("ge", bounds.get("gt", 0)), bounds.get("le", bounds.get("lt", 10))
    return next(v for v in (low + (high - low) * 0.37, low + (high - low) * 0.41) if v != default)


def cases() -> list[Any]:
    """Return each field of each method's form: the shared ones, and its own."""
    found = []
    for method in METHODS:
        form = get_detector(method).training_spec()
        assert form is not None
        for model in (TrainingSettings, form.options):
            found += [
                pytest.param(method, model, name, id=f"{method}-{name}")
                for name in model.model_fields
                # The shared fields go the same way in all methods.
                if model is not TrainingSettings or method == "voting" or name in form.defaults
            ]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory, draw) -> Path:
    """A retina with a mask."""
    root = tmp_path_factory.mktemp("data")
    retina = draw(160, 200)
    Image.fromarray(retina.pixels).save(root / "eye.png")
    Image.fromarray(retina.masks["MA"]).save(root / "eye_MA.png")
    return root


@pytest.fixture
def trained(monkeypatch):
    """What the training loop was given by each training."""
    given: list[tuple[Any, TrainingSettings]] = []

    def record(task, settings, output, **rest):
        given.append((task, settings))
        return iter(())

    monkeypatch.setattr(start, "train", record)
    return given


@pytest.mark.parametrize(("method", "model", "name"), cases())
def test_a_field_set_in_the_form_arrives_in_task_settings_and_card(
    method, model, name, folder, trained, qtbot, tmp_path
) -> None:
    told = get_detector(method).training_spec()
    form = SettingsForm(told)
    qtbot.addWidget(form)
    shared = model is TrainingSettings
    usual = TrainingSettings(**told.defaults) if shared else model()
    wanted = other_value(model, name, getattr(usual, name))
    assert wanted != getattr(usual, name)
    scheme = "full"
    checkpoint = None
    if name == "scheme":
        scheme, checkpoint = wanted, "voting-idrid"
        form.set_checkpoint(ModelCard(name="x", detector=method))
    else:
        for other, value in {**NEEDS.get(name, {}), name: wanted}.items():
            part = form.options if not shared else form.shared
            part = form.budget if other in form.budget.editors else part
            part.editors[other].set_value(value)
    settings = form.settings(scheme)
    assert set(settings) == {name, "preview_every", *NEEDS.get(name, {})}

    config = TrainingConfig(
        detector=method, data=str(folder), settings=settings, device="cpu", checkpoint=checkpoint
    )
    from_file = TrainingConfig.model_validate_json(config.model_dump_json())
    list(run_training(from_file, tmp_path / "a", monitor=Monitor()))
    command = shlex.split(training_command(RunRequest(config, tmp_path / "b")))
    result = CliRunner().invoke(app, command[1:])
    assert result.exit_code == 0, result.output
    assert len(trained) == 2, "once by the job file, and once by the command that is copied"
    for task, got in trained:
        if shared:
            assert getattr(got, name) == wanted
        else:
            card = task.card(got)
            assert getattr(task.options, name) == wanted
            written = model.model_validate(card.recipe["options"])
            assert getattr(written, name) == wanted


@pytest.mark.parametrize("method", METHODS)
def test_an_untouched_form_trains_as_the_method_does_by_itself(
    method, folder, trained, qtbot, tmp_path
) -> None:
    form = SettingsForm(get_detector(method).training_spec())
    qtbot.addWidget(form)
    assert form.settings() == {"preview_every": 1}
    train = get_detector(method).train
    list(train(data=folder, output=tmp_path, settings=form.settings(), device="cpu"))
    list(train(data=folder, output=tmp_path, device="cpu"))
    (first, mine), (second, own) = trained
    assert mine == own.model_copy(update={"preview_every": 1})
    assert first.options == second.options


def test_what_a_run_was_told_is_shown_again(qtbot) -> None:
    told = get_detector("unet").training_spec()
    form, again = SettingsForm(told), SettingsForm(told)
    for part in (form, again):
        qtbot.addWidget(part)
    # As the command line keeps them: text.
    settings = {
        "batch_size": "7",
        "deterministic": "false",
        "preview_every": "2",
        "max_epochs": "5",
        "filters": [8, 16],
        "contrast": "0.3",
        "class_weights": {"MA": 3.0},
    }
    form.set_settings(settings)
    shown = form.settings()
    assert shown["deterministic"] is False
    assert shown["filters"] == [8, 16]
    assert set(shown) == set(settings)
    again.set_settings(shown)
    assert again.settings() == shown


def test_of_weights_to_start_from_the_form_neither_shows_nor_sends_what_is_theirs(qtbot) -> None:
    told = get_detector("voting").training_spec()
    form = SettingsForm(told)
    qtbot.addWidget(form)
    form.options.editors["width"].set_value(8)
    assert "width" in form.settings()
    form.set_checkpoint(ModelCard(name="x", detector="voting"))
    assert "width" not in form.settings("interleaved")
    assert form.options.editors["width"].native.isHidden()
    assert "width" in form.fixed_settings_label.text()
    form.set_checkpoint(None)
    assert not form.options.editors["width"].native.isHidden()


def test_a_side_that_comes_with_the_weights_is_shown_and_sent_only_if_changed(qtbot) -> None:
    told = get_detector("cam").training_spec()
    form = SettingsForm(told)
    qtbot.addWidget(form)
    card = ModelCard(
        name="x",
        detector="cam",
        architecture={"poolings": 3},
        recipe={"preprocessing": {"side": 384}},
    )
    form.set_checkpoint(card)
    assert form.options.values()["side"] == 384
    assert form.options.values()["poolings"] == 3
    assert form.settings() == {"preview_every": 1}
    form.options.editors["side"].set_value(512)
    assert form.settings()["side"] == 512


def test_a_value_that_does_not_fit_is_named_as_the_form_names_it(qtbot) -> None:
    form = SettingsForm(get_detector("unet").training_spec())
    qtbot.addWidget(form)
    form.options.editors["filters"].native.setText("[1]")
    with pytest.raises(OptionsError, match=re.escape("Filters")):
        form.settings()
