"""The multi-scale detector: its stages trained one after the other on drawn retinas, and used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import multiscale_ablation
from napari_fundus.backends.multiscale import (
    Multiscale,
    embed_points,
    nearest_neighbours,
    project_pca,
)
from napari_fundus.backends.multiscale.refiner_task import RefinerTask
from napari_fundus.backends.multiscale.training import train_multiscale
from napari_fundus.backends.multiscale.training_options import MultiscaleTrainingOptions
from napari_fundus.checkpoints import read_card, read_checkpoint, save_checkpoint
from napari_fundus.datasets import open_dataset
from napari_fundus.errors import Cancelled, CheckpointError, OptionsError, TrainingError
from napari_fundus.image import FundusImage
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training import EpochEnd, TrainingSettings

SMALL = {
    "width": 1 / 8,
    "disc_diameter": 160,
    "patch": 32,
    "batch_size": 8,
    "learning_rate": 0.01,
    "warmup_steps": 0,
    "ema": 0,
    "max_epochs": 1,
    "steps_per_epoch": 60,
    "dry_steps": 1,
    "validation_share": 0.34,
    "negatives": "all",
    "refiner_patch": 33,
    "pool": 64,
    "refresh": 1,
}
STAGES = ("fine", "coarse", "refine", "classify")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, draw) -> Path:
    root = tmp_path_factory.mktemp("data")
    for seed in range(3):
        retina = draw(160, 200, seed=seed)
        Image.fromarray(retina.pixels).save(root / f"eye{seed}.png")
        Image.fromarray(retina.masks["MA"]).save(root / f"eye{seed}_MA.png")
    return root


@pytest.fixture(scope="module")
def runs(folder, tmp_path_factory) -> dict[str, Path]:
    """Each stage trained from the file of the one before."""
    torch.set_num_threads(1)  # small tensors gain nothing by more, and this comes before one_thread
    root, known, paths = tmp_path_factory.mktemp("runs"), None, {}
    for stage in STAGES:
        *_, last = train_multiscale(
            data=folder,
            output=root / stage,
            checkpoint=known,
            # So short a training finds what is suspect by little: its precision decides.
            settings={**SMALL, "stage": stage, "precision": "float32"},
            device="cpu",
        )
        known = paths[stage] = last.best.path
    return paths


@pytest.fixture(scope="module")
def unseen(draw):
    return draw(160, 200, seed=77)


def found(path: Path, unseen, **options):
    given = {"checkpoint": str(path), "result": "refined", "fusion": "arithmetic", **options}
    given = {"suspect": 0.2, "stride": 2, **given}
    return Multiscale().detect(FundusImage.from_array(unseen.pixels), given, device="cpu")


def test_each_file_holds_the_stages_trained_so_far(runs) -> None:
    for number, stage in enumerate(STAGES, start=1):
        checkpoint = read_checkpoint(runs[stage])
        assert set(checkpoint.card.architecture) == set(STAGES[:number])
        assert {name.split(".")[0] for name in checkpoint.tensors} == set(STAGES[:number])
    card = read_card(runs["classify"])
    recipes = {s: r["preprocessing"]["disc_diameter"] for s, r in card.recipe["stages"].items()}
    assert recipes == {"fine": 160, "coarse": 80, "refine": 160, "classify": 160}
    assert card.recipe["stages"]["coarse"]["training"]["batch_size"] == 8
    assert {"fine_average_precision", "coarse_average_precision"} <= set(card.metrics)
    assert card.parent.name == "refine"
    earlier = read_checkpoint(runs["fine"]).tensors
    later = read_checkpoint(runs["classify"]).tensors
    for name, value in earlier.items():
        torch.testing.assert_close(later[name], value)


@pytest.mark.parametrize("result", ["fine", "coarse", "fused", "refined"])
def test_lesions_stand_out_in_every_result(runs, unseen, result) -> None:
    maps = found(runs["classify"], unseen, result=result).probability["MA"]
    assert maps.shape == (160, 200)
    lesion = unseen.masks["MA"]
    assert maps[lesion].mean() > 3 * maps[unseen.disc & ~lesion].mean()


def test_stages_are_given_one_above_the_other(runs, unseen) -> None:
    result = found(runs["refine"], unseen)
    assert list(result.stages) == ["MA 1×", "MA 0.5×", "MA fused"]
    fine, coarse, fused = result.stages.values()
    np.testing.assert_allclose(fused, (fine + coarse) / 2, atol=1e-5)
    assert not found(runs["refine"], unseen, stages=False).stages
    geometric = found(runs["refine"], unseen, result="fused", fusion="geometric")
    assert list(geometric.stages) == ["MA 1×", "MA 0.5×"]
    assert (geometric.probability["MA"] <= fused + 1e-4).all()


def test_the_refiner_changes_suspect_pixels_only(runs, unseen) -> None:
    refined = found(runs["refine"], unseen)
    before, after = refined.stages["MA fused"], refined.probability["MA"]
    both = np.maximum(refined.stages["MA 1×"], refined.stages["MA 0.5×"])
    # Maps are warped back to the photograph's pixels, so keep away from the bound.
    calm = both < 0.02
    np.testing.assert_allclose(after[calm], before[calm], atol=0.03)
    assert np.abs(after - before).max() > 0.05


def test_trust_leads_from_the_hypothesis_to_the_refiner(runs, unseen) -> None:
    none, some, all_ = (found(runs["refine"], unseen, trust=t) for t in (0, 0.5, 1))
    fused = none.stages["MA fused"]
    np.testing.assert_allclose(none.probability["MA"], fused, atol=1e-3)
    moved = [np.abs(r.probability["MA"] - fused).max() for r in (some, all_)]
    assert 0.01 < moved[0] < moved[1]


def test_triplet_and_cls_differ_and_cls_must_be_there(runs, unseen) -> None:
    triplet = found(runs["classify"], unseen).probability["MA"]
    cls = found(runs["classify"], unseen, refiner="cls").probability["MA"]
    assert np.abs(triplet - cls).max() > 1e-3
    with pytest.raises(OptionsError, match="no stage 'classify'.*train"):
        found(runs["refine"], unseen, refiner="cls")
    with pytest.raises(OptionsError, match="no stage 'refine'"):
        found(runs["coarse"], unseen)


def test_tiles_do_not_show(runs, unseen) -> None:
    whole = found(runs["coarse"], unseen, result="fused").probability["MA"]
    tiled = found(runs["coarse"], unseen, result="fused", tile=256).probability["MA"]
    np.testing.assert_allclose(tiled, whole, atol=1e-4)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.55, 0.8, 0.95])
def test_cancelling_is_heeded_in_every_stage(runs, unseen, share) -> None:
    """The step after the wish to stop is the last one."""
    later: list[float] = []

    def watch(progress) -> None:
        if monitor.cancelled:
            later.append(progress.fraction)
        elif progress.fraction >= share:
            monitor.cancel()

    monitor = Monitor(watch)
    image = FundusImage.from_array(unseen.pixels)
    options = {"checkpoint": str(runs["refine"]), "result": "refined", "suspect": 0.2, "stride": 2}
    with pytest.raises(Cancelled):
        Multiscale().detect(image, options, device="cpu", monitor=monitor)
    assert len(later) <= 1


def test_a_picture_without_lesion_is_refined_too(runs, unseen) -> None:
    """Where no place is suspect the refiner has nothing to do, and the map stays as it is."""
    plain = np.where(unseen.disc[..., np.newaxis], np.uint8([150, 80, 30]), np.uint8(0))
    result = Multiscale().detect(
        FundusImage.from_array(plain),
        {"checkpoint": str(runs["refine"]), "result": "refined", "suspect": 0.99},
        device="cpu",
    )
    assert result.instances.empty
    assert result.probability["MA"].max() < 0.99


def test_a_stage_can_be_trained_further(runs, folder, tmp_path) -> None:
    events = list(
        train_multiscale(
            data=folder,
            output=tmp_path / "more",
            checkpoint=runs["coarse"],
            settings={**SMALL, "stage": "fine", "steps_per_epoch": 1, "learning_rate": 1e-9},
            device="cpu",
        )
    )
    before, after = (read_checkpoint(p).tensors for p in (runs["coarse"], events[-1].best.path))
    name = "fine.head.weight"
    torch.testing.assert_close(after[name], before[name], atol=1e-6, rtol=1e-4)
    assert after.keys() == before.keys()


def test_a_resumed_refiner_goes_on_with_the_same_pool(runs, folder, tmp_path) -> None:
    settings = {**SMALL, "stage": "refine", "max_epochs": 3, "steps_per_epoch": 2}

    def events(output: Path, **how):
        return train_multiscale(
            data=folder,
            output=output,
            checkpoint=runs["coarse"],
            settings=settings,
            device="cpu",
            **how,
        )

    whole = list(events(tmp_path / "whole"))[-1].best.path
    for event in events(tmp_path / "broken"):
        if isinstance(event, EpochEnd) and event.epoch == 1:
            break
    list(events(tmp_path / "broken", resume=True))
    one, two = (
        read_checkpoint(p).tensors for p in (whole, tmp_path / "broken" / "best.safetensors")
    )
    for name, value in one.items():
        torch.testing.assert_close(two[name], value)


def test_hard_patches_are_drawn_more_often_once_the_pool_is_scored(runs, folder) -> None:
    options = MultiscaleTrainingOptions(
        stage="refine", disc_diameter=160, refiner_patch=33, negatives="all", pool=64, refresh=1
    )
    task = RefinerTask(
        open_dataset(folder), options=options, initial=read_checkpoint(runs["coarse"])
    )
    task.prepare(TrainingSettings(validation_share=0.34, batch_size=4), Monitor())
    assert task.triplets.counts["suspect without lesion"] > 0
    first = task.pool
    network = task.build()
    task.start_epoch(network, 0)
    assert task.pool is first
    task.start_epoch(network, 1)
    assert task.pool is not first
    assert len(task.pool.places) == 64
    assert (task.pool.losses > 0).all()


def test_the_ablation_has_a_line_a_row_of_the_paper(runs, folder, monkeypatch, capsys) -> None:
    given = [str(runs["classify"]), "--data", str(folder), "--suspect", "0.2", "--device", "cpu"]
    monkeypatch.setattr("sys.argv", ["multiscale_ablation", *given])
    multiscale_ablation.main()
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0].strip("| ") for line in table[1:]] == [
        row.title for row in multiscale_ablation.ROWS
    ]
    fine, *_, last = (float(line.split(" | ")[1].split()[0]) for line in table[1:])
    assert 0 < fine < 1
    assert last != fine
    # Weights with fewer stages have fewer rows.
    monkeypatch.setattr("sys.argv", ["multiscale_ablation", str(runs["fine"]), *given[1:]])
    multiscale_ablation.main()
    assert capsys.readouterr().out.count("| HGN") == 1


def test_embeddings_have_length_1_and_lesions_are_likely(runs, unseen) -> None:
    image = FundusImage.from_array(unseen.pixels)
    lesions = np.argwhere(unseen.masks["MA"])[::5]
    monitor_steps: list[float] = []
    embeddings, probability = embed_points(
        image,
        lesions,
        checkpoint=str(runs["refine"]),
        device="cpu",
        monitor=Monitor(lambda progress: monitor_steps.append(progress.fraction)),
    )
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
    _, elsewhere = embed_points(
        image, np.array([[80.0, 100.0]]), checkpoint=str(runs["refine"]), device="cpu"
    )
    assert probability.mean() > elsewhere[0]
    assert monitor_steps[-1] == 1
    none, _ = embed_points(image, np.zeros((0, 2)), checkpoint=str(runs["refine"]))
    assert none.shape == (0, 128)


def test_projection_keeps_apart_what_differs_and_is_the_same_every_time() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.eye(8)[:2], 5, axis=0) + 0.01 * rng.standard_normal((10, 8))
    plane = project_pca(groups)
    assert np.abs(plane).max() == pytest.approx(1)
    assert (plane[:5, 0] < 0).all() != (plane[5:, 0] < 0).all()
    np.testing.assert_array_equal(plane, project_pca(groups))
    np.testing.assert_array_equal(project_pca(groups[:1]), [[0, 0]])
    np.testing.assert_array_equal(project_pca(np.ones((3, 8))), np.zeros((3, 2)))
    assert set(nearest_neighbours(groups, 0, 4)) == {1, 2, 3, 4}


def test_healthy_patches_need_healthy_images(folder, tmp_path) -> None:
    settings = {**SMALL, "stage": "fine", "negatives": "healthy"}
    with pytest.raises(TrainingError, match="negatives=all"):
        list(train_multiscale(data=folder, output=tmp_path / "run", settings=settings))


def test_wrong_stages_and_cards_are_told(runs, folder, tmp_path, unseen) -> None:
    with pytest.raises(OptionsError, match="stage 'best'"):
        train_multiscale(data=folder, output=tmp_path / "a", settings={"stage": "best"})
    with pytest.raises(OptionsError, match="has none of the stage"):
        train_multiscale(
            data=folder,
            output=tmp_path / "b",
            checkpoint=runs["fine"],
            settings={**SMALL, "stage": "coarse", "scheme": "interleaved"},
        )
    checkpoint = read_checkpoint(runs["fine"])
    wrong = checkpoint.card.model_copy(update={"architecture": {"fine": {"width": 0.5}}})
    save_checkpoint(tmp_path / "wrong.safetensors", checkpoint.tensors, wrong)
    with pytest.raises(CheckpointError, match="'fine' as its card describes"):
        found(tmp_path / "wrong.safetensors", unseen, result="fine")
