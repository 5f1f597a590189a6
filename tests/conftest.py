"""Fixtures shared by all tests: a synthetic retina whose lesions are known."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import settings

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@dataclass(frozen=True)
class Retina:
    """A drawn fundus photograph and its truth.

    Attributes
    ----------
    pixels
        uint8, (H, W, 3).
    disc
        bool, (H, W): the field of view.
    masks
        Class code to bool (H, W).
    """

    pixels: npt.NDArray[np.uint8]
    disc: npt.NDArray[np.bool_]
    masks: dict[str, npt.NDArray[np.bool_]]


def draw_retina(height: int = 240, width: int = 320, *, seed: int = 0) -> Retina:
    """Draw an orange disc on black with dark dots (MA), dark blobs (HE) and bright spots (EX).

    All seeds but 0 have a faint pattern of their own, so that they are different photographs.
    """
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[:height, :width]
    radius = 0.46 * min(height, width)
    centre = height / 2, width / 2
    distance = np.hypot(rows - centre[0], cols - centre[1])
    disc = distance <= radius
    colour = np.array([190.0, 95.0, 35.0])
    pixels = colour * (1 - 0.25 * (distance / radius)[..., np.newaxis] ** 2)
    pixels += rng.normal(0, 2, pixels.shape)
    if seed:
        pattern = np.random.default_rng((seed, 1)).normal(0, 1, (height, width))
        pattern = cv2.GaussianBlur(pattern, (0, 0), 0.05 * radius)
        pixels += (5 / pattern.std() * pattern)[..., np.newaxis]
    masks: dict[str, npt.NDArray[np.bool_]] = {}
    for code, size, shade, places in (
        ("MA", 0.012, 0.55, ((-0.4, -0.3), (0.3, -0.5), (0.1, 0.4))),
        ("HE", 0.05, 0.5, ((0.5, 0.1), (-0.1, -0.6))),
        ("EX", 0.03, 1.7, ((-0.5, 0.3), (0.4, 0.5), (0.0, 0.0), (-0.2, 0.6))),
    ):
        mask = np.zeros((height, width), np.bool_)
        for row, col in places:
            near = np.hypot(rows - centre[0] - row * radius, cols - centre[1] - col * radius)
            mask |= near <= max(size * 2 * radius, 1.5)
        pixels[mask] *= shade
        masks[code] = mask
    pixels[~disc] = rng.integers(0, 4, (int((~disc).sum()), 3))
    return Retina(np.clip(pixels, 0, 255).astype(np.uint8), disc, masks)


@pytest.fixture(autouse=True, scope="session")
def nobody_s_preferences(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what a person prefers on this machine out of the tests, subprocesses included."""
    before = os.environ.get("NAPARI_FUNDUS_PREFERENCES")
    nowhere = tmp_path_factory.mktemp("preferences") / "preferences.json"
    os.environ["NAPARI_FUNDUS_PREFERENCES"] = str(nowhere)
    yield
    if before is None:
        del os.environ["NAPARI_FUNDUS_PREFERENCES"]
    else:
        os.environ["NAPARI_FUNDUS_PREFERENCES"] = before


@pytest.fixture
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks compute in float32, whatever precision all other tests run in."""
    monkeypatch.setenv("NAPARI_FUNDUS_PRECISION", "float32")


@pytest.fixture
def retina() -> Retina:
    """A small synthetic retina, 240×320 px, with 3 MA, 2 HE and 4 EX."""
    return draw_retina()


@pytest.fixture(scope="session")
def draw() -> Callable[..., Retina]:
    """The function that draws synthetic retinas, for tests that need several."""
    return draw_retina


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the repository; for tests marked `shared_data`."""
    return SHARED_DATA


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin every test with the same random numbers, whichever tests ran before it."""
    torch.manual_seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep a file, and all of the window, in one process; leave out tests without their data.

    The window's tests share one clipboard. Those that need the real data are left out where these
    are not beside the checkout.
    """
    for item in items:
        window = "gui" in item.path.relative_to(config.rootpath).parts
        item.add_marker(pytest.mark.xdist_group("gui" if window else item.nodeid.split("::")[0]))
    if SHARED_DATA.is_dir():
        return
    absent = [item for item in items if "shared_data" in item.keywords]
    if absent:
        config.hook.pytest_deselected(items=absent)
        items[:] = [item for item in items if item not in absent]
