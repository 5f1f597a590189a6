"""Training of the voting detector on drawn retinas: data, parts, options, weights that serve."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from napari_fundus.backends.voting import Voting
from napari_fundus.backends.voting.network import PatchNetworkArchitecture
from napari_fundus.backends.voting.training import VotingTask, train_voting
from napari_fundus.backends.voting.training_options import VotingTrainingOptions
from napari_fundus.checkpoints import read_card
from napari_fundus.datasets import Dataset, Sample, open_dataset
from napari_fundus.errors import LeakageError, OptionsError, TrainingError
from napari_fundus.image import FundusImage, read_image
from napari_fundus.preprocessing.network_input import to_network_input
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training import EpochEnd, Finished, Started, TrainingSettings
from napari_fundus.training.loop.settings import split_settings
from napari_fundus.training.patches.data import (
    load_patch_store,
    sample_validation_tiles,
    split_samples,
)

SMALL = {
    "width": 4,
    "patch": 16,
    "disc_diameter": 128,
    "loss": "bce_dice",
    "learning_rate": 0.01,
    "batch_size": 16,
    "max_epochs": 2,
    "steps_per_epoch": 12,
    "validation_tiles": 40,
    "dry_steps": 1,
    "validation_share": 0.34,
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def folder(tmp_path: Path, draw) -> Path:
    """Three drawn retinas with masks of microaneurysms."""
    root = tmp_path / "data"
    root.mkdir()
    for seed in range(3):
        retina = draw(160, 200, seed=seed)
        Image.fromarray(retina.pixels).save(root / f"eye{seed}.png")
        Image.fromarray(retina.masks["MA"]).save(root / f"eye{seed}_MA.png")
    return root


@pytest.fixture
def healthy(tmp_path: Path, draw) -> Path:
    root = tmp_path / "healthy"
    root.mkdir()
    Image.fromarray(draw(160, 200, seed=9).pixels).save(root / "clean.png")
    return root


@pytest.fixture(scope="module")
def options() -> VotingTrainingOptions:
    return split_settings(SMALL, VotingTrainingOptions)[1]


class Listed(Dataset):
    """Samples given one by one."""

    name = "listed"
    title = "Listed"

    @classmethod
    def recognize(cls, folder: Path) -> Path | None:
        return None

    @classmethod
    def open(cls, root: Path) -> Dataset:
        raise NotImplementedError


def test_a_training_gives_weights_that_the_detector_uses(folder, tmp_path) -> None:
    events = list(
        Voting().train(data=folder, output=tmp_path / "run", settings=SMALL, device="cpu")
    )
    assert isinstance(events[0], Started)
    assert events[0].report.train.images == 2
    assert events[0].report.train.lesions == {"MA": 6}
    assert isinstance(events[-1], Finished)
    best = events[-1].best.path
    epochs = [event for event in events if isinstance(event, EpochEnd)]
    assert len(epochs) == 2
    assert epochs[1].metrics["train_loss"] < epochs[0].metrics["train_loss"]
    found = Voting().detect(
        read_image(folder / "eye0.png"), {"checkpoint": str(best), "stride": 8}, device="cpu"
    )
    assert found.probability["MA"].shape == (160, 200)
    assert found.provenance.checkpoint == "run"
    card = read_card(best)
    assert card.lesions == ("MA",)
    assert len(card.split.train) == 2
    assert len(card.split.validation) == 1
    for names, images in (
        (card.split.train, card.split.train_images),
        (card.split.validation, card.split.validation_images),
    ):
        assert tuple(image.name for image in images) == names
        for image in images:
            there = read_image(folder / f"{image.name}.png").identity
            assert (image.sha256, image.perceptual) == (there.sha256, there.perceptual)
    best_metric = VotingTask.best_metric
    assert card.metrics[best_metric] == max(event.metrics[best_metric] for event in epochs)


def test_dots_are_told_from_the_rest_after_a_short_training(folder, tmp_path, draw) -> None:
    settings = {**SMALL, "max_epochs": 1, "steps_per_epoch": 60}
    *_, last = train_voting(data=folder, output=tmp_path / "run", settings=settings, device="cpu")
    unseen = draw(160, 200, seed=77)
    found = Voting().detect(
        FundusImage.from_array(unseen.pixels), {"checkpoint": str(last.best.path)}, device="cpu"
    )
    inside = found.probability["MA"][unseen.masks["MA"]].mean()
    elsewhere = unseen.disc & ~unseen.masks["MA"] & ~unseen.masks["HE"]
    assert inside > 3 * found.probability["MA"][elsewhere].mean()


def test_training_and_detection_see_the_same_planes(folder, options) -> None:
    """What is stored as bytes becomes just what the detector makes of the same photograph."""
    task = VotingTask(open_dataset(folder), options=options)
    task.prepare(split_settings(SMALL, VotingTrainingOptions)[0], Monitor())
    name = task.validation_store[0].id
    prepared = task.recipe.apply(read_image(folder / f"{name}.png"))
    stored = torch.from_numpy(task.validation_store[0].pixels).permute(2, 0, 1)[None]
    batch = {"images": stored, "masks": torch.zeros_like(stored), "weights": 1}

    class Keep(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen = x
            return torch.sigmoid(x)

    network = Keep()
    task.validate(network, {**batch, "weights": torch.ones_like(stored)})
    np.testing.assert_array_equal(network.seen[0].numpy(), to_network_input(prepared))


def test_fine_tuning_takes_network_and_scale_from_the_weights(folder, tmp_path) -> None:
    *_, base = train_voting(data=folder, output=tmp_path / "a", settings=SMALL, device="cpu")
    shared = {n: v for n, v in SMALL.items() if n in TrainingSettings.model_fields}
    start = {"data": folder, "checkpoint": base.best.path, "device": "cpu"}
    settings = {**shared, "scheme": "interleaved", "allow_leakage": True}
    *_, tuned = train_voting(output=tmp_path / "b", settings=settings, **start)
    before, after = read_card(base.best.path), read_card(tuned.best.path)
    assert after.architecture == before.architecture
    assert after.recipe["preprocessing"] == before.recipe["preprocessing"]
    assert after.parent is not None
    assert after.parent.name == "a"
    with pytest.raises(OptionsError, match="patch, width cannot be set"):
        train_voting(output=tmp_path / "c", settings={"width": 4, "patch": 16}, **start)
    with pytest.raises(LeakageError, match="seen in the training"):
        list(train_voting(output=tmp_path / "d", settings={**shared, "seed": 3}, **start))


def test_a_scheme_needs_weights_to_start_from(folder, tmp_path) -> None:
    with pytest.raises(OptionsError, match="freeze_5"):
        train_voting(data=folder, output=tmp_path / "run", settings={"scheme": "freeze_5"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widht": 3}, "Unknown setting 'widht'; there are .*width"),
        ({"patch": 12}, "'patch' = 12"),
        ({"learning_rate": "fast"}, "'learning_rate' = 'fast'"),
    ],
)
def test_settings_out_of_bounds_are_named(settings, message) -> None:
    with pytest.raises(OptionsError, match=message):
        split_settings(settings, VotingTrainingOptions)


def test_the_two_models_of_settings_share_no_name() -> None:
    assert not set(TrainingSettings.model_fields) & set(VotingTrainingOptions.model_fields)


@pytest.mark.parametrize("decoder", ["paper", "slim"])
def test_the_default_network_is_that_of_the_architecture(decoder) -> None:
    options = VotingTrainingOptions(decoder=decoder)
    widths = PatchNetworkArchitecture(widths=options.widths()).widths
    assert (widths == PatchNetworkArchitecture().widths) == (decoder == "paper")


def test_the_blur_keeps_its_size_in_relation_to_the_disc() -> None:
    default = VotingTrainingOptions().recipe()
    half = VotingTrainingOptions(disc_diameter=default.disc_diameter / 2).recipe()
    assert half.sigma == pytest.approx(default.sigma / 2)


def test_testing_images_are_left_alone_and_a_given_validation_part_is_kept(folder, options) -> None:
    samples = list(open_dataset(folder))
    parts = ("train", "valid", "test")
    data = Listed(folder, [replace(s, split=part) for s, part in zip(samples, parts, strict=True)])
    chosen = split_samples(data, None, TrainingSettings(), options.recipe(), ["MA"])
    assert [s.split for s in chosen.train] == ["train"]
    assert [s.split for s in chosen.validation] == ["valid"]


def test_healthy_images_of_a_held_back_eye_are_left_out(folder, options) -> None:
    samples = [replace(s, group=s.id) for s in open_dataset(folder)]
    graded = [Sample(f"graded/{s.id}", s.image_path, grades={"dr": 0}, group=s.id) for s in samples]
    data = Listed(folder, [*samples, *graded])
    chosen = split_samples(
        data, None, TrainingSettings(validation_share=0.34), options.recipe(), ["MA"]
    )
    assert len(chosen.validation) == 1
    assert {s.group for s in chosen.healthy} == {s.group for s in chosen.train}
    assert all(s.annotated == {"MA"} and not s.truths for s in chosen.healthy)


def test_healthy_images_too_small_for_the_scale_are_left_out(folder, options) -> None:
    samples = list(open_dataset(folder))
    graded = [Sample("graded", samples[0].image_path, grades={"dr": 0})]
    data = Listed(folder, [*samples, *graded])
    large = options.recipe().model_copy(update={"disc_diameter": 300.0})
    assert len(split_samples(data, None, TrainingSettings(), options.recipe(), ["MA"]).healthy) == 1
    assert not split_samples(data, None, TrainingSettings(), large, ["MA"]).healthy


def test_other_patches_may_come_from_healthy_images_alone(folder, healthy) -> None:
    shared, options = split_settings(
        {**SMALL, "negatives": "healthy", "positive_share": 0.5}, VotingTrainingOptions
    )
    task = VotingTask(open_dataset(folder), open_dataset(healthy), options=options)
    facts = task.prepare(shared, Monitor())
    assert [s.id for s in facts.train.samples][-1] == "healthy/clean"
    images, *_ = task.sampler.negative.draw(np.random.default_rng(0), 50)
    assert set(images) == {2}
    alone = VotingTask(open_dataset(folder), options=options)
    with pytest.raises(TrainingError, match="give a folder of them"):
        alone.prepare(shared, Monitor())


def test_images_without_annotation_cannot_be_trained_on(healthy, tmp_path) -> None:
    with pytest.raises(TrainingError, match="nothing to train on"):
        list(train_voting(data=healthy, output=tmp_path / "run", settings=SMALL, device="cpu"))


def test_drawn_tiles_stand_for_the_others(folder, options) -> None:
    store = load_patch_store(list(open_dataset(folder)), options.recipe(), 16, ["MA"], Monitor())
    everything = sample_validation_tiles(store, 16, 0, seed=0)
    some = sample_validation_tiles(store, 16, 5, seed=0)
    assert len(some.weights) < len(everything.weights)
    assert some.weights.sum() == pytest.approx(everything.weights.sum())
    with_lesion = [
        store[i].bits[r : r + 16, c : c + 16].any()
        for i, r, c in zip(everything.images, everything.rows, everything.cols, strict=True)
    ]
    assert (some.weights == 1).sum() == sum(with_lesion) == len(some.weights) - 5


def test_the_preview_shows_a_lesion_and_what_is_found(folder, options) -> None:
    task = VotingTask(open_dataset(folder), options=options)
    task.prepare(split_settings(SMALL, VotingTrainingOptions)[0], Monitor())
    with torch.inference_mode():
        shown = list(task.preview(task.build().eval()).values())
    assert shown[0].dtype == np.uint8
    assert shown[0].shape == (*shown[1].shape, 3)
    assert shown[1].min() >= 0
    assert shown[1].max() <= 1
