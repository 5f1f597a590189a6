"""Every built-in detector trains a step and detects both in float32 and in bfloat16."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from napari_fundus.checkpoints import read_card
from napari_fundus.image import FundusImage
from napari_fundus.plugins import discover
from napari_fundus.results.detections import Detections
from napari_fundus.training import Started

LOOP = {
    "batch_size": 2,
    "max_epochs": 1,
    "steps_per_epoch": 1,
    "dry_steps": 0,
    "validation_share": 0.34,
}
SMALL: dict[str, list[dict[str, Any]]] = {
    "unet": [{"filters": (4, 6, 8), "patch": 32, "disc_diameter": 128}],
    "voting": [{"width": 4, "patch": 16, "disc_diameter": 128, "validation_tiles": 8}],
    "multiscale": [
        {
            "stage": stage,
            "width": 1 / 8,
            "disc_diameter": 160,
            "patch": 32,
            "negatives": "all",
            "refiner_patch": 33,
            "pool": 16,
        }
        for stage in ("fine", "coarse", "refine", "classify")
    ],
    "cam": [{"width": 0.1, "side": 64, "third_stride": 2, "rotation": 0, "scale": 0}],
    "mask_rcnn": [
        {
            "start": "",
            "filters": (4, 6, 8, 8, 8),
            "channels": 8,
            "hidden": 16,
            "mask_channels": 8,
            "patch": 64,
            "disc_diameter": 192,
            "class_shares": {"MA": 0.5, "HE": 0.5},
            "validation_tiles": 2,
        }
    ],
}
"""Settings of one training after the other, each from the weights of the one before."""

OPTIONS: dict[str, dict[str, Any]] = {
    "multiscale": {"result": "refined", "suspect": 0.1, "stride": 8},
    "voting": {"stride": 8},
}
ALWAYS_FLOAT32 = {"tophat", "cam", "mask_rcnn"}
"""Detectors that compute in float32 whatever is preferred, since they need it."""

BUILT_IN = {
    name: detector
    for name, detector in discover().detectors.items()
    if discover().sources[name] == "napari-fundus"
}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folders(tmp_path_factory, draw) -> dict[str, Path]:
    """Three retinas with lesions drawn, and six with grades of retinopathy."""
    drawn, graded = tmp_path_factory.mktemp("drawn"), tmp_path_factory.mktemp("graded")
    for seed in range(3):
        retina = draw(160, 200, seed=seed)
        Image.fromarray(retina.pixels).save(drawn / f"eye{seed}.png")
        for code in ("MA", "HE"):
            Image.fromarray(retina.masks[code]).save(drawn / f"eye{seed}_{code}.png")
    (graded / "train_images").mkdir()
    lines = ["id_code,diagnosis"]
    for seed in range(6):
        Image.fromarray(draw(90, 100, seed=seed).pixels).save(
            graded / "train_images" / f"eye{seed}.png"
        )
        lines.append(f"eye{seed},{3 * (seed % 2)}")
    (graded / "train.csv").write_text("\n".join(lines))
    return {"drawn": drawn, "graded": graded}


def train(name: str, folders: Mapping[str, Path], output: Path) -> list[Any]:
    """Return the events of all trainings of `SMALL` for a detector."""
    events: list[Any] = []
    for number, settings in enumerate(SMALL[name]):
        events += BUILT_IN[name].train(
            data=folders["graded" if name == "cam" else "drawn"],
            output=output / str(number),
            checkpoint=events[-1].best.path if events else None,
            settings={**LOOP, **settings},
            device="cpu",
        )
    return events


@pytest.fixture(scope="module")
def weights(folders, tmp_path_factory) -> dict[str, str]:
    """Weights of every trainable detector after a step in float32."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAPARI_FUNDUS_PRECISION", "float32")
        root = tmp_path_factory.mktemp("weights")
        return {name: str(train(name, folders, root / name)[-1].best.path) for name in SMALL}


def test_every_trainable_detector_is_trained_here() -> None:
    assert set(SMALL) == {n for n, d in BUILT_IN.items() if d.training_spec() is not None}


@pytest.mark.parametrize("name", SMALL)
def test_a_step_in_bfloat16_is_that_in_float32_up_to_rounding(
    monkeypatch, folders, tmp_path, weights, name
) -> None:
    monkeypatch.setenv("NAPARI_FUNDUS_PRECISION", "bfloat16")
    events = train(name, folders, tmp_path)
    assert {e.report.precision for e in events if isinstance(e, Started)} == {"bfloat16"}
    coarse, exact = read_card(events[-1].best.path), read_card(Path(weights[name]))
    assert coarse.recipe["training"]["precision"] == "bfloat16"
    assert np.isfinite(list(coarse.metrics.values())).all()
    assert coarse.metrics["train_loss"] == pytest.approx(exact.metrics["train_loss"], rel=0.02)
    assert coarse.metrics["train_loss"] != exact.metrics["train_loss"]


def detect(name: str, weights: Mapping[str, str], retina: Any, precision: str) -> Detections:
    given = dict(OPTIONS.get(name, {}))
    if name in weights:
        given["checkpoint"] = weights[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAPARI_FUNDUS_PRECISION", precision)
        return BUILT_IN[name].detect(FundusImage.from_array(retina.pixels), given, device="cpu")


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_detector_finds_the_same_in_bfloat16(weights, draw, name) -> None:
    retina = draw(160, 200, seed=77)
    exact, coarse = (detect(name, weights, retina, p) for p in ("float32", "bfloat16"))
    assert exact.provenance.precision == "float32"
    assert coarse.provenance.precision == ("float32" if name in ALWAYS_FLOAT32 else "bfloat16")
    for code, values in exact.probability.items():
        difference = np.abs(coarse.probability[code] - values)
        if name in ALWAYS_FLOAT32:
            assert not difference.any()
        else:
            assert 0 < difference.max() < 0.1
            assert difference.mean() < 0.005
