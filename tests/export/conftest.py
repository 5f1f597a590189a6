"""A small result with everything in it: several classes, holes, touching corners, a heat map."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pytest

from napari_fundus.image import FundusImage
from napari_fundus.results.detections import Detections, Provenance

Maps = Mapping[str, npt.NDArray[np.float32]]
MakeResult = Callable[..., Detections]


def make_result(
    probability: Maps, *, shape: tuple[int, int] | None = None, **more: object
) -> Detections:
    """Return a result with the given maps, at threshold 0.5."""
    if shape is None:
        shape = next(iter(probability.values())).shape
    return Detections(
        provenance=Provenance(
            detector="drawn",
            detector_version="1",
            package_version="0",
            options={"threshold": 0.5, "sizes": [1, 2]},
            image_name="eye",
            image_path="/photographs/eye.jpg",
            image_sha256="ab" * 32,
            image_shape=shape,
            created="2026-01-01T00:00:00+00:00",
        ),
        probability=probability,
        thresholds=dict.fromkeys(probability, 0.5),
        **more,
    )


@pytest.fixture
def result() -> Detections:
    """Three classes on 120×160 px: a ring, a blob, touching corners; single pixels; and none."""
    rng = np.random.default_rng(3)
    red = np.zeros((120, 160), np.float32)
    red[10:20, 30:45] = 0.9
    red[13:16, 35:40] = 0.1
    red[50, 50] = red[51, 51] = red[52, 50] = 0.7
    red[119, 159] = red[0, 0] = 1
    bright = (rng.random((120, 160)) > 0.8).astype(np.float32) * np.float32(0.6)
    rows, cols = np.mgrid[:120, :160]
    return make_result(
        {"MA": red, "EX": bright, "drusen": np.zeros_like(red)},
        min_area=2,
        heatmap={"MA": rng.random((120, 160), np.float32)},
        image_score={"referable": 1 / 3},
        field_of_view=np.hypot(rows - 60, cols - 80) < 70,
        has_boxes=True,
    )


@pytest.fixture
def make() -> MakeResult:
    """Make results of one's own maps."""
    return make_result


@pytest.fixture
def photograph() -> FundusImage:
    """An image of the size of `result`."""
    rng = np.random.default_rng(4)
    return FundusImage(rng.integers(0, 255, (120, 160, 3), np.uint8), name="eye")
