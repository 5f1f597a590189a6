"""Training Mask R-CNN: on drawn retinas, from a U-Net that knows lesions, with honest figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from napari_fundus.backends.mask_rcnn.initial_unet import InitialUNet
from napari_fundus.backends.mask_rcnn.targets import detection_target
from napari_fundus.backends.mask_rcnn.training import MaskRCNNTask, train_mask_rcnn
from napari_fundus.backends.mask_rcnn.training_options import MaskRCNNTrainingOptions
from napari_fundus.backends.mask_rcnn.weights import load_network
from napari_fundus.checkpoints import ModelCard, Split, read_checkpoint, save_checkpoint
from napari_fundus.datasets import open_dataset
from napari_fundus.errors import CheckpointError, LeakageError, OptionsError
from napari_fundus.inference.plain_unet import PlainUNet
from napari_fundus.preprocessing import Recipe
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training import EpochEnd, Started, TrainingSettings
from napari_fundus.training.loop.fabric import seeded
from napari_fundus.training.patches.data import split_samples

FILTERS = (4, 6, 8, 8, 8)
TINY = {
    "start": "",
    "filters": FILTERS,
    "channels": 8,
    "hidden": 16,
    "mask_channels": 8,
    "patch": 64,
    "disc_diameter": 192,
    "class_shares": {"MA": 0.5, "HE": 0.5},
    "validation_tiles": 2,
}
LOOP = {
    "batch_size": 2,
    "learning_rate": 5e-3,
    "warmup_steps": 0,
    "ema": 0,
    "max_epochs": 2,
    "steps_per_epoch": 12,
    "dry_steps": 0,
    "validation_share": 0.34,
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, draw) -> Path:
    """Three drawn retinas with masks of microaneurysms and haemorrhages."""
    root = tmp_path_factory.mktemp("data")
    for seed in range(3):
        retina = draw(160, 200, seed=seed)
        Image.fromarray(retina.pixels).save(root / f"eye{seed}.png")
        for code in ("MA", "HE"):
            Image.fromarray(retina.masks[code]).save(root / f"eye{seed}_{code}.png")
    return root


@pytest.fixture(scope="module")
def unet(tmp_path_factory) -> Path:
    """Weights of a U-Net that has seen one eye with the seed 7."""
    torch.manual_seed(1)
    network = PlainUNet(planes=3, outputs=5, filters=FILTERS, stem=2)
    path: Path = tmp_path_factory.mktemp("unet") / "small.safetensors"
    recipe = Recipe(crop="disc", resize="disc", disc_diameter=160, enhance=True, sigma=3)
    card = ModelCard(
        name="small",
        detector="unet",
        lesions=("MA", "HE", "EX", "SE", "OD"),
        architecture={"kind": "plain", "planes": 3, "outputs": 5, "filters": FILTERS, "stem": 2},
        recipe={"preprocessing": recipe.model_dump(mode="json"), "training": {"seed": 7}},
        split=Split(train=("eye1",)),
    )
    save_checkpoint(path, network.state_dict(), card)
    return path


def task_of(folder: Path, **options: Any) -> MaskRCNNTask:
    chosen = MaskRCNNTrainingOptions.model_validate({**TINY, **options})
    return MaskRCNNTask(open_dataset(folder), options=chosen)


def test_a_training_lowers_the_loss_and_gives_weights_that_load(folder, tmp_path) -> None:
    events = list(
        train_mask_rcnn(
            data=folder, output=tmp_path / "run", settings={**TINY, **LOOP}, device="cpu"
        )
    )
    epochs = [event for event in events if isinstance(event, EpochEnd)]
    assert epochs[1].metrics["train_loss"] < 0.9 * epochs[0].metrics["train_loss"]
    assert {"ap35", "ap50", "ap35_MA", "ap35_HE"} <= set(epochs[0].metrics)
    checkpoint = read_checkpoint(events[-1].best.path)
    assert checkpoint.card.lesions == ("MA", "HE")
    _, architecture = load_network(checkpoint)
    assert (architecture.classes, architecture.filters) == (2, FILTERS)


def test_a_light_network_begins_with_the_unet_and_leaves_it_as_it_is(
    folder, unet, tmp_path
) -> None:
    own = {n: v for n, v in TINY.items() if n not in ("filters", "disc_diameter")}
    settings = {**own, **LOOP, "max_epochs": 1, "steps_per_epoch": 2, "start": str(unet)}
    told = {**settings, "allow_leakage": True}
    *_, last = train_mask_rcnn(data=folder, output=tmp_path / "a", settings=told, device="cpu")
    checkpoint, begun = read_checkpoint(last.best.path), read_checkpoint(unet)
    for name, tensor in begun.tensors.items():
        if not name.startswith("head."):
            assert torch.equal(checkpoint.tensors[f"backbone.unet.{name}"], tensor)
    assert checkpoint.card.recipe["preprocessing"] == begun.card.recipe["preprocessing"]
    assert checkpoint.card.parent is not None
    assert checkpoint.card.parent.sha256 == begun.sha256

    told["unet_rate"] = 0.1
    *_, last = train_mask_rcnn(data=folder, output=tmp_path / "b", settings=told, device="cpu")
    trained = read_checkpoint(last.best.path).tensors["backbone.unet.down.0.0.weight"]
    assert not torch.equal(trained, begun.tensors["down.0.0.weight"])


def test_images_that_the_unet_has_seen_cannot_be_held_back(folder, unet, tmp_path) -> None:
    own = {n: v for n, v in TINY.items() if n not in ("filters", "disc_diameter")}
    task = MaskRCNNTask(
        open_dataset(folder),
        options=MaskRCNNTrainingOptions.model_validate({**own, "start": str(unet)}),
    )
    by_held: dict[str, TrainingSettings] = {}
    for seed in range(12):
        settings = TrainingSettings(seed=seed, validation_share=0.34)
        (held,) = split_samples(task.data, None, settings, task.recipe, task.lesions).validation
        by_held[held.id] = settings
    with pytest.raises(LeakageError, match="eye1 among them.*seed 7"):
        task.prepare(by_held["eye1"], Monitor())
    task.prepare(by_held["eye0"], Monitor())
    assert [image.id for image in task.validation_store] == ["eye0"]


def test_of_two_scales_the_finer_network_is_taken(unet, tmp_path) -> None:
    one = read_checkpoint(unet)
    architecture = {**one.card.architecture, "coarse": one.card.architecture}
    both = {
        f"{part}.{name}": values + number
        for number, part in enumerate(("fine", "coarse"))
        for name, values in one.tensors.items()
    }
    path = tmp_path / "both.safetensors"
    save_checkpoint(path, both, one.card.model_copy(update={"architecture": architecture}))
    taken, alone = InitialUNet.of(str(path)), InitialUNet.of(str(unet))
    assert taken.tensors.keys() == alone.tensors.keys()
    assert all(torch.equal(taken.tensors[name], alone.tensors[name]) for name in taken.tensors)


@pytest.mark.parametrize("changes", [{"stem": 1}, {"kind": "smp"}, {"filters": (4, 6, 8)}])
def test_only_a_plain_unet_can_be_begun_with(folder, unet, tmp_path, changes) -> None:
    begun = read_checkpoint(unet)
    card = begun.card.model_copy(
        update={"architecture": {**begun.card.architecture, **changes}, "content_sha256": ""}
    )
    path = tmp_path / "other.safetensors"
    save_checkpoint(path, begun.tensors, card)
    with pytest.raises(CheckpointError, match="begins with one plain U-Net"):
        MaskRCNNTask(
            open_dataset(folder), options=MaskRCNNTrainingOptions(start=str(path), patch=64)
        )


def test_what_comes_with_the_unet_cannot_be_set(folder, unet) -> None:
    with pytest.raises(OptionsError, match="disc_diameter cannot be set"):
        MaskRCNNTask(
            open_dataset(folder),
            options=MaskRCNNTrainingOptions(start=str(unet), disc_diameter=500),
        )


def test_residual_networks_see_the_papers_picture(folder) -> None:
    task = task_of(folder, kind="resnet101", patch=256, side=256)
    assert (task.recipe.crop, task.recipe.resize, task.recipe.side) == ("circle", "side", 256)
    assert task.recipe.sigma == pytest.approx(5)
    assert task.architecture.kind == "resnet101"
    assert task.architecture.anchors_per_image == 512
    facts = task.prepare(TrainingSettings(validation_share=0.34), Monitor())
    assert len(facts.train.samples) == 2
    # A patch is the whole picture: an epoch shows each once.
    assert task.steps_per_epoch(TrainingSettings(batch_size=1)) == 2


def test_boxes_are_those_of_the_masks_after_turning_shifting_and_zooming(folder) -> None:
    task = task_of(folder, zoom=0.3, shift=0.2)
    settings = TrainingSettings(batch_size=6, validation_share=0.34)
    task.prepare(settings, Monitor())
    with seeded(3):
        batch = task.augment(task.batch(settings, (0, 0, 0, 0)))
    assert sum(len(target["boxes"]) for target in batch["targets"]) > 3
    for target, planes in zip(batch["targets"], batch["masks"].numpy(), strict=True):
        painted = np.zeros_like(planes)
        for (x0, y0, x1, y1), label, mask in zip(
            target["boxes"].int().tolist(), target["labels"].tolist(), target["masks"], strict=True
        ):
            painted[label - 1, y0:y1, x0:x1] |= mask
        for x0, y0, x1, y1 in target["ignored"].int().tolist():
            hidden = np.s_[:, y0:y1, x0:x1]
            painted[hidden], planes[hidden] = 0, 0
        assert np.array_equal(painted > 0, planes > 0)


def test_what_nobody_looked_at_is_hidden(folder) -> None:
    task = task_of(folder, brightness=0.5)
    settings = TrainingSettings(batch_size=2, validation_share=0.34)
    task.prepare(settings, Monitor())
    batch = task.batch(settings, (0, 0, 0, 0))
    batch["unknown"] = torch.zeros(2, 1, 64, 64, dtype=torch.uint8)
    batch["unknown"][0, :, :, :32] = 1
    with seeded(0):
        varied = task.augment(batch)
    hidden = varied["unknown"][:, 0] > 0
    assert 0 < hidden[0].sum() < hidden[0].numel()
    assert not varied["images"][0][:, hidden[0]].any()
    assert varied["images"][1].any()


def test_the_truth_itself_has_full_precision_and_unannotated_classes_do_not_count(folder) -> None:
    task = task_of(folder)
    settings = TrainingSettings(validation_share=0.34)
    task.prepare(settings, Monitor())

    class Knowing(torch.nn.Module):
        """Returns what was drawn, and nothing of the second class."""

        def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
            answers = []
            for planes in self.masks:
                target = detection_target(planes, torch.ones(2, dtype=torch.bool), task.lesions)
                kept = torch.where(target["labels"] == 1)[0]
                squares = [
                    torch.nn.functional.interpolate(
                        torch.from_numpy(target["masks"][n])[None, None].float(), (28, 28)
                    )[0]
                    for n in kept.tolist()
                ]
                answers.append(
                    {
                        "boxes": target["boxes"][kept],
                        "labels": target["labels"][kept],
                        "scores": torch.ones(len(kept)),
                        "masks": torch.stack(squares) if squares else torch.zeros(0, 1, 28, 28),
                    }
                )
            return answers

    def metrics(known: bool) -> dict[str, float]:
        sums: dict[str, float] = {}
        network = Knowing()
        for step in range(task.validation_steps(settings)):
            batch = task.validation_batch(settings, step)
            batch["weights"][:, 1] *= known
            network.masks = batch["masks"].numpy()
            for name, value in task.validate(network, batch).items():
                sums[name] = sums.get(name, 0.0) + float(value)
        return task.metrics(sums)

    both = metrics(known=True)
    assert both["ap35_MA"] > 0.9
    assert both["ap35_HE"] == 0
    assert 0 < both["ap35"] < both["ap35_MA"]
    assert metrics(known=False)["ap35"] == pytest.approx(both["ap35_MA"])


def test_a_class_weighs_by_the_root_of_its_lesions(folder) -> None:
    sums = {
        "MA_lesions": 81.0,
        "MA_hit_35_40": 81.0,
        "MA_hit_50_40": 81.0,
        "HE_lesions": 4.0,
        "HE_hit_35_40": 2.0,
        "HE_miss_50_40": 2.0,
    }
    metrics = task_of(folder).metrics(sums)
    assert (metrics["ap35_MA"], metrics["ap35_HE"]) == (1.0, 0.5)
    assert metrics["ap35"] == pytest.approx((9 * 1.0 + 2 * 0.5) / 11)
    assert metrics["ap50"] == pytest.approx(9 / 11)


def test_the_report_counts_the_weights_of_a_kept_unet_as_not_trained(
    folder, unet, tmp_path
) -> None:
    own = {n: v for n, v in TINY.items() if n not in ("filters", "disc_diameter")}
    settings = {**own, **LOOP, "start": str(unet), "allow_leakage": True}
    started = next(
        event
        for event in train_mask_rcnn(
            data=folder, output=tmp_path / "run", settings=settings, device="cpu"
        )
        if isinstance(event, Started)
    )
    kept = sum(t.numel() for n, t in read_checkpoint(unet).tensors.items() if _learnt(n))
    assert started.report.parameters - started.report.trainable == kept


def _learnt(name: str) -> bool:
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return not name.startswith("head.") and not name.endswith(statistics)
