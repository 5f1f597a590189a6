"""Training of the classifier on drawn retinas: data, parts, balance, calibration, resuming."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from napari_fundus.backends.cam import Cam
from napari_fundus.backends.cam.augmentation import augment_images
from napari_fundus.backends.cam.network_input import normalize_input, quantize_input
from napari_fundus.backends.cam.training import CamTask, GradingTask, train_cam
from napari_fundus.backends.cam.training_data import (
    epoch_order,
    load_graded_images,
    split_graded_samples,
)
from napari_fundus.backends.cam.training_options import SPEC, CamTrainingOptions
from napari_fundus.checkpoints import read_card
from napari_fundus.datasets import Dataset, open_dataset
from napari_fundus.datasets.graded import Aptos2019
from napari_fundus.errors import Cancelled, LeakageError, OptionsError, TrainingError
from napari_fundus.image import read_image
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training import EpochEnd, Finished, TrainingSettings
from napari_fundus.training.loop.settings import split_settings

SMALL = {
    "width": 0.1,
    "side": 64,
    "third_stride": 2,
    "batch_size": 8,
    "max_epochs": 2,
    "validation_share": 0.34,
    "dry_steps": 0,
    "rotation": 0,
    "scale": 0,
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, draw) -> Path:
    """Eighteen graded retinas: those of grade 2 and more bear a large bright patch."""
    root = tmp_path_factory.mktemp("graded")
    (root / "train_images").mkdir()
    lines = ["id_code,diagnosis"]
    for seed in range(18):
        grade = (0, 2, 0, 4, 1, 3)[seed % 6]
        retina = draw(100, 110, seed=seed)
        pixels = retina.pixels.copy()
        if grade >= 2:
            row, col = 30 + 2 * (seed % 9), 35 + 3 * (seed % 7)
            pixels[row : row + 16, col : col + 16] = (250, 240, 120)
        Image.fromarray(pixels).save(root / "train_images" / f"eye{seed:02}.png")
        lines.append(f"eye{seed:02},{grade}")
    (root / "train.csv").write_text("\n".join(lines))
    return root


@pytest.fixture(scope="module")
def data(folder) -> Dataset:
    return open_dataset(folder)


def split(settings) -> tuple[TrainingSettings, CamTrainingOptions]:
    return split_settings({**SPEC.defaults, **settings}, CamTrainingOptions)


def with_samples(data: Dataset, samples) -> Dataset:
    return Aptos2019(data.root, samples)


def last_of(**arguments) -> Finished:
    *_, last = train_cam(device="cpu", **arguments)
    assert isinstance(last, Finished)
    return last


def test_a_training_gives_weights_that_the_detector_uses(folder, tmp_path) -> None:
    settings = {**SMALL, "max_epochs": 10, "learning_rate": 0.05}
    events = list(Cam().train(data=folder, output=tmp_path / "run", settings=settings))
    epochs = [event for event in events if isinstance(event, EpochEnd)]
    assert epochs[-1].metrics["train_loss"] < 0.7 * epochs[0].metrics["train_loss"]
    best = events[-1].best
    assert best.metrics["auc"] == max(epoch.metrics["auc"] for epoch in epochs)
    card = read_card(best.path)
    assert card.recipe["temperature"] == card.metrics["temperature"]
    assert card.metrics["calibrated_nll"] <= card.metrics["nll"]
    assert card.recipe["training"]["momentum"] == 0.8
    assert len(card.split.validation) == 6
    options = {"checkpoint": str(best.path)}
    scores = [
        Cam().detect(read_image(folder / "train_images" / f"eye{seed:02}.png"), options).image_score
        for seed in (0, 1, 2, 3)
    ]
    values = [score["referable DR"] for score in scores]
    assert max(values[0], values[2]) < min(values[1], values[3])


def test_the_loop_s_defaults_are_those_of_the_paper() -> None:
    shared, _ = split({})
    assert shared.optimizer == "sgd"
    assert (shared.momentum, shared.weight_decay) == (0.8, 5e-4)
    assert (shared.learning_rate, shared.schedule, shared.factor) == (0.01, "exponential", 0.99)
    assert shared.max_epochs == 150


def test_a_killed_run_ends_with_the_weights_of_an_unbroken_one(folder, tmp_path) -> None:
    settings = {**SMALL, "rotation": 90, "ema": 0.5, "batch_size": 4, "save_minutes": 0}
    whole = last_of(data=folder, output=tmp_path / "whole", settings=settings)
    broken = tmp_path / "broken"

    def stop(progress) -> None:
        if progress.message == "epoch 2, step 2":
            monitor.cancel()

    monitor = Monitor(stop)
    with pytest.raises(Cancelled):
        list(train_cam(data=folder, output=broken, settings=settings, monitor=monitor))
    resumed = last_of(data=folder, output=broken, settings=settings, resume=True)
    assert resumed.steps == whole.steps == 6
    for name in ("best", "last"):
        first, second = (
            load_file(run / f"{name}.safetensors") for run in (whole_of(whole), broken)
        )
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)


def whole_of(finished: Finished) -> Path:
    return finished.best.path.parent


@pytest.mark.parametrize("target", ["any", "grades", "ordinal"])
def test_other_targets_are_trained_and_told_by_name(folder, tmp_path, target) -> None:
    settings = {**SMALL, "target": target, "max_epochs": 1}
    last = last_of(data=folder, output=tmp_path / "run", settings=settings)
    image = read_image(folder / "train_images" / "eye01.png")
    found = Cam().detect(image, {"checkpoint": str(last.best.path)}, device="cpu")
    names = set(found.image_score)
    if target == "any":
        assert names == {"any DR"}
    else:
        assert {"any DR", "referable DR", *(f"grade {g}" for g in range(5))} == names
    assert -1 <= last.best.metrics["kappa"] <= 1


def test_grades_choose_their_best_epoch_by_kappa() -> None:
    assert CamTask.best_metric == "auc"
    assert GradingTask.best_metric == "kappa"


def test_images_of_one_eye_stay_in_one_part(data) -> None:
    samples = [replace(s, group=f"eye {n // 3}") for n, s in enumerate(data)]
    parts = split_graded_samples(
        with_samples(data, samples), None, TrainingSettings(validation_share=0.34)
    )
    groups = [{s.group for s in part} for part in parts]
    assert all(groups)
    assert not groups[0] & groups[1]


def test_the_testing_part_and_ungradable_images_are_left_alone(data) -> None:
    samples = list(data)
    samples[0] = replace(samples[0], split="test")
    samples[1] = replace(samples[1], grades={**samples[1].grades, "gradable": 0})
    samples[2] = replace(samples[2], grades={})
    train, validation = split_graded_samples(with_samples(data, samples), None, TrainingSettings())
    assert {s.id for s in (*train, *validation)} == {s.id for s in samples[3:]}


def test_a_given_validation_part_is_kept(data) -> None:
    samples = [replace(s, split="valid" if n < 4 else "train") for n, s in enumerate(data)]
    train, validation = split_graded_samples(with_samples(data, samples), None, TrainingSettings())
    assert [s.split for s in validation] == ["valid"] * 4
    assert len(train) == 14


def test_eyes_with_lesions_drawn_can_be_held_back(data) -> None:
    samples = [replace(s, group=f"eye {n // 2}") for n, s in enumerate(data)]
    samples.append(replace(samples[0], id="drawn", grades={}, annotated=frozenset({"MA"})))
    known = with_samples(data, samples)
    _, validation = split_graded_samples(known, None, TrainingSettings(), hold_back_drawn=True)
    assert {samples[0].id, samples[1].id} < {s.id for s in validation}
    with pytest.raises(OptionsError, match="in every fold"):
        split_graded_samples(known, None, TrainingSettings(folds=2), hold_back_drawn=True)


def test_folds_hold_back_each_image_once(data) -> None:
    parts = [split_graded_samples(data, None, TrainingSettings(folds=3, fold=n)) for n in (1, 2, 3)]
    held = [s.id for _, validation in parts for s in validation]
    assert sorted(held) == sorted(s.id for s in data)
    assert all(len(train) == 12 for train, _ in parts)


def test_healthy_images_add_grade_0_but_none_twice(data, tmp_path, draw) -> None:
    other = tmp_path / "healthy"
    other.mkdir()
    for name in ("new", data[0].image_path.stem):
        Image.fromarray(draw(100, 110).pixels).save(other / f"{name}.png")
    train, _ = split_graded_samples(data, open_dataset(other), TrainingSettings())
    added = [s for s in train if s.id.startswith("healthy/")]
    assert [(s.id, s.grades["dr"]) for s in added] == [("healthy/new", 0)]


def test_images_without_grades_cannot_be_trained_on(tmp_path, draw) -> None:
    Image.fromarray(draw(100, 110).pixels).save(tmp_path / "eye.png")
    with pytest.raises(TrainingError, match="no image with a grade"):
        list(train_cam(data=tmp_path, output=tmp_path / "run", settings=SMALL, device="cpu"))


def test_one_class_alone_cannot_be_trained_on(data, tmp_path) -> None:
    healthy = with_samples(data, [s for s in data if s.grades["dr"] == 0])
    with pytest.raises(TrainingError, match="of one class"):
        list(train_cam(data=healthy, output=tmp_path / "run", settings=SMALL, device="cpu"))


def test_oversampling_shows_classes_equally_often_and_each_image() -> None:
    classes = np.array([0] * 30 + [1] * 5 + [2] * 10)
    drawn = epoch_order(classes, (0, 3), oversample=True)
    assert np.bincount(classes[drawn]).tolist() == [15, 15, 15]
    assert set(drawn) > set(range(30, 45))
    np.testing.assert_array_equal(drawn, epoch_order(classes, (0, 3), oversample=True))
    assert not np.array_equal(drawn, epoch_order(classes, (0, 4), oversample=True))
    assert sorted(epoch_order(classes, (0, 3), oversample=False)) == list(range(45))


def test_a_batch_depends_on_its_key_alone(data) -> None:
    shared, options = split({**SMALL, "oversample": False})
    tasks = [CamTask(data, options=options) for _ in range(2)]
    for task in tasks:
        task.prepare(shared, Monitor())
    tasks[0].batch(shared, (0, 5, 0, 0))
    key = (0, 1, 1, 0)
    for name, value in tasks[0].batch(shared, key).items():
        assert torch.equal(value, tasks[1].batch(shared, key)[name])
    # Twelve images; the second batch of eight goes on with another order of them.
    places = torch.cat([tasks[0].batch(shared, (0, 1, s, 0))["places"] for s in range(3)])
    assert sorted(places[:12].tolist()) == sorted(places[12:].tolist()) == list(range(12))


def test_training_and_detection_see_the_same_picture(data) -> None:
    recipe = split(SMALL)[1].recipe()
    kept = load_graded_images(list(data)[:1], recipe, Monitor()).pixels[0]
    np.testing.assert_array_equal(kept, quantize_input(recipe.apply(data[0].image())))
    seen = normalize_input(torch.from_numpy(kept).permute(2, 0, 1)[None], recipe)
    prepared = recipe.apply(data[0].image())
    assert not seen[0, :, ~torch.from_numpy(prepared.field_of_view)].any()
    exact = torch.from_numpy(prepared.pixels).permute(2, 0, 1)
    assert (seen[0] - exact)[:, torch.from_numpy(prepared.field_of_view)].abs().median() <= 0.5 / 20


def test_class_weights_count_the_rarer_class_more(data) -> None:
    shared, options = split({**SMALL, "class_weights": True, "positive_weight": 2})
    task = CamTask(data, options=options)
    task.prepare(shared, Monitor())
    healthy, diseased = np.bincount(task._target_classes(task.shown.grades))
    weights = task._weights
    assert weights is not None
    assert float(weights[1] / weights[0]) == pytest.approx(2 * healthy / diseased)


def test_nothing_varies_where_nothing_is_to_vary() -> None:
    still = CamTrainingOptions(rotation=0, flips=False, scale=0, contrast=0, brightness=0, colour=0)
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(augment_images(images, still), images)


def test_each_image_varies_by_itself_and_keeps_its_content() -> None:
    rows = torch.linspace(-1, 1, 33)
    blob = torch.exp(-(rows[:, None] ** 2 + rows**2) * 6).expand(6, 3, 33, 33)
    turned = augment_images(blob, CamTrainingOptions(contrast=0, brightness=0, colour=0, scale=0))
    torch.testing.assert_close(turned, blob, atol=0.03, rtol=0)
    varied = augment_images(blob, CamTrainingOptions())
    assert len({round(float(image.sum()), 3) for image in varied}) == 6


def test_a_training_goes_on_from_weights_at_a_finer_scale(folder, tmp_path) -> None:
    base = last_of(data=folder, output=tmp_path / "a", settings={**SMALL, "max_epochs": 1})
    shared = {n: v for n, v in SMALL.items() if n in TrainingSettings.model_fields}
    start = {"data": folder, "checkpoint": base.best.path, "device": "cpu"}
    finer = {**shared, "side": 96, "third_stride": 1, "max_epochs": 1}
    *_, tuned = train_cam(output=tmp_path / "b", settings=finer, **start)
    before, after = read_card(base.best.path), read_card(tuned.best.path)
    assert after.architecture == {**before.architecture, "third_stride": 1}
    assert after.recipe["preprocessing"]["side"] == 96
    assert after.parent is not None
    with pytest.raises(OptionsError, match="width cannot be set"):
        train_cam(output=tmp_path / "c", settings={"width": 0.2}, **start)
    with pytest.raises(LeakageError, match="seen in the training"):
        list(train_cam(output=tmp_path / "d", settings={**shared, "seed": 5}, **start))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widht": 3}, "Unknown setting 'widht'; there are target"),
        ({"target": "severity"}, "'target' = 'severity'"),
        ({"scheme": "freeze_5"}, "freeze_5"),
        ({"pretrained": True}, "no ImageNet weights of the o_O"),
        ({"network": "timm:no_such_network"}, "timm has no classifier"),
        ({"network": "torchvision:resnet999"}, "torchvision has no classifier"),
    ],
)
def test_settings_that_cannot_be_are_refused(folder, tmp_path, settings, message) -> None:
    with pytest.raises(OptionsError, match=message):
        list(train_cam(data=folder, output=tmp_path / "run", settings={**SMALL, **settings}))


def test_the_two_models_of_settings_share_no_name() -> None:
    assert not set(TrainingSettings.model_fields) & set(CamTrainingOptions.model_fields)
