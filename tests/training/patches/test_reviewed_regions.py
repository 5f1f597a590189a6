"""Corrections train the networks: unreviewed classes and regions teach nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_fundus.backends.unet.training import UNetTask, train_unet
from napari_fundus.backends.unet.training_options import SPEC, UNetTrainingOptions
from napari_fundus.backends.voting.training import VotingTask, train_voting
from napari_fundus.backends.voting.training_options import VotingTrainingOptions
from napari_fundus.datasets import open_dataset, write_correction
from napari_fundus.image import FundusImage
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training.loop.settings import split_settings

COMMON = {
    "disc_diameter": 128,
    "batch_size": 8,
    "max_epochs": 1,
    "steps_per_epoch": 3,
    "dry_steps": 0,
    "validation_share": 0.5,
    "devices": 1,
}
UNET = {**COMMON, "filters": (4, 8), "patch": 32, "lesions": ("MA", "HE")}
VOTING = {**COMMON, "width": 4, "patch": 16, "validation_tiles": 40}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def correct(folder: Path, draw, *, seed: int, reviewed, region=None) -> None:
    retina = draw(160, 200, seed=seed)
    image = FundusImage.from_array(retina.pixels, name=f"eye{seed}")
    write_correction(folder, image=image, labels=retina.masks, reviewed=reviewed, region=region)


@pytest.fixture
def corrections(tmp_path, draw) -> Path:
    """Four eyes, three of them reviewed in their left part, one of these for MA alone."""
    left = np.zeros((160, 200), np.bool_)
    left[:, :130] = True  # through a lesion
    correct(tmp_path / "c", draw, seed=0, reviewed=["MA", "HE"], region=left)
    correct(tmp_path / "c", draw, seed=1, reviewed=["MA", "HE"], region=left)
    correct(tmp_path / "c", draw, seed=2, reviewed=["MA"], region=left)
    correct(tmp_path / "c", draw, seed=3, reviewed=["MA", "HE"])
    return tmp_path / "c"


@pytest.mark.parametrize(("train", "settings"), [(train_unet, UNET), (train_voting, VOTING)])
def test_the_trainers_open_a_folder_of_corrections(corrections, tmp_path, train, settings) -> None:
    *_, last = train(data=corrections, output=tmp_path / "run", settings=settings, device="cpu")
    assert last.best.path.is_file()


def unet_task(folder: Path) -> tuple[UNetTask, object]:
    shared, options = split_settings({**SPEC.defaults, **UNET}, UNetTrainingOptions)
    return UNetTask(open_dataset(folder), options=options), shared


def voting_task(folder: Path) -> tuple[VotingTask, object]:
    shared, options = split_settings({**VOTING, "loss": "dice"}, VotingTrainingOptions)
    return VotingTask(open_dataset(folder), options=options), shared


@pytest.mark.parametrize("make", [unet_task, voting_task])
def test_only_reviewed_pixels_and_classes_have_a_gradient(corrections, make) -> None:
    task, settings = make(corrections)
    task.prepare(settings, Monitor())
    network = task.build()
    seen = []

    class Recorded(torch.nn.Module):
        def forward(self, images, **options):
            maps = network(images, **options)
            maps.retain_grad()
            seen.append(maps)
            return maps

    partly = 0
    for step in range(6):
        batch = task.augment(task.batch(settings, (0, 0, step, 0)))
        unknown = batch["unknown"].bool()
        assert set(unknown.unique().tolist()) <= {False, True}
        task.loss(Recorded(), batch).backward()
        gradient = seen[-1].grad
        assert not gradient[unknown.expand_as(gradient)].any()
        partly += int(unknown.any())
        if isinstance(task, UNetTask):
            assert not gradient[~batch["annotated"]].any()
        assert gradient.any()
    assert partly


def test_validation_leaves_out_what_was_not_reviewed(corrections) -> None:
    task, settings = unet_task(corrections)
    task.prepare(settings, Monitor())
    assert any(image.unknown is not None for image in task.validation_store)
    for step in range(task.validation_steps(settings)):
        batch = task.validation_batch(settings, step)
        assert not batch["weights"][~task_known(task, settings, step)].any()


def task_known(task: UNetTask, settings, step: int) -> torch.Tensor:
    """Return where a validation batch may count, told from the store itself."""
    at = task._tiles_per_batch
    chosen = slice(step * at, (step + 1) * at)
    known = []
    for image, row, col in zip(
        task.tiles.images[chosen], task.tiles.rows[chosen], task.tiles.cols[chosen], strict=True
    ):
        stored = task.validation_store[image]
        window = np.s_[row : row + task.patch, col : col + task.patch]
        inside = stored.field_of_view[window].copy()
        if stored.unknown is not None:
            inside &= ~stored.unknown[window]
        known.append(inside[np.newaxis] & stored.annotated[:, np.newaxis, np.newaxis])
    return torch.from_numpy(np.stack(known))
