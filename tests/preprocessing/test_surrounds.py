"""The field of view is found on white, grey, coloured, uneven, noisy and written grounds."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from napari_fundus.image import FundusImage, read_image
from napari_fundus.preprocessing import FovCircle, check_retina, find_field_of_view, fit_fov_circle
from napari_fundus.preprocessing.surround import fit_surround
from napari_fundus.samples import normal_image_path

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

SHAPE = (400, 520)
MIDDLE = FovCircle(200, 260, 180)


@cache
def retina() -> tuple[Pixels, FovCircle]:
    """Return the normal sample at a third of its size, and its disc a little inside the rim."""
    image = read_image(normal_image_path())
    whole = fit_fov_circle(find_field_of_view(image))
    pixels = cv2.resize(image.rgb8, None, fx=1 / 3, fy=1 / 3, interpolation=cv2.INTER_AREA)
    row, col = ((place + 0.5) / 3 - 0.5 for place in (whole.centre_row, whole.centre_col))
    return pixels, FovCircle(row, col, 0.985 * whole.radius / 3)


def place(disc: FovCircle, shape: tuple[int, int] = SHAPE) -> Pixels:
    """Return a frame in which the retina fills `disc`, black around it."""
    pixels, own = retina()
    scale = disc.radius / own.radius
    move = np.array(
        [
            [scale, 0, disc.centre_col - scale * own.centre_col],
            [0, scale, disc.centre_row - scale * own.centre_row],
        ]
    )
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.warpAffine(pixels, move, shape[::-1], flags=how)


def lay_on(ground: Pixels, disc: FovCircle = MIDDLE) -> Pixels:
    """Return the retina in `disc` on `ground`, with a rim as soft as a lens draws it."""
    shape = ground.shape[0], ground.shape[1]
    share = cv2.GaussianBlur(disc.mask(shape).astype(np.float32), (0, 0), 0.7)[..., np.newaxis]
    mixed = place(disc, shape) * share + ground * (1 - share)
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def even(*colour: float) -> Pixels:
    return np.full((*SHAPE, 3), colour, np.float32)


def ramp(start: Any, stop: Any, share: Pixels) -> Pixels:
    """Return a ground that changes from one colour to another."""
    start, stop = np.float32(start), np.float32(stop)
    return start + (stop - start) * share[..., np.newaxis]


def noisy(level: float, spread: float, channels: int) -> Pixels:
    noise = np.random.default_rng(0).normal(0, spread, (*SHAPE, channels))
    return np.clip(even(level, level, level) + noise, 0, 255)


def written(ground: Pixels, colour: tuple[int, int, int]) -> Pixels:
    """Return a ground with text in two corners."""
    paper = ground.astype(np.uint8)
    for line in range(3):
        at = (4, 20 + 22 * line)
        cv2.putText(paper, "Patient 4711 OD", at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1)
    cv2.putText(paper, "2019-03-04", (400, 390), cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, 2)
    return paper


def as_jpeg(pixels: Pixels, quality: int) -> Pixels:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=quality)
    return np.array(Image.open(content))


def bars(pixels: Pixels, rows: int, cols: int, level: int) -> Pixels:
    """Return a picture with bars of one grey level along its sides."""
    pixels = pixels.copy()
    if rows:
        pixels[:rows] = pixels[-rows:] = level
    if cols:
        pixels[:, :cols] = pixels[:, -cols:] = level
    return pixels


def made_surrounds() -> dict[str, tuple[Pixels, Mask]]:
    """Return pictures, each with the pixels that show the retina."""
    down, across = np.mgrid[: SHAPE[0], : SHAPE[1]] / np.reshape(SHAPE, (2, 1, 1))
    white, grey, steel = even(255, 255, 255), even(128, 128, 128), even(90, 120, 160)
    grounds = {
        "black": even(0, 0, 0),
        "white": white,
        "paper": even(243, 240, 232),
        "light grey": even(200, 200, 200),
        "grey": grey,
        "dark grey": even(64, 64, 64),
        "blue": even(0, 0, 255),
        "dark blue": even(0, 0, 110),
        "steel": steel,
        "green": even(40, 160, 60),
        "yellow": even(255, 240, 0),
        "magenta": even(255, 0, 255),
        "red": even(255, 0, 0),
        "white to grey": ramp((255,) * 3, (140,) * 3, across),
        "grey to white": ramp((120,) * 3, (250,) * 3, down),
        "blue to white": ramp((60, 60, 200), (255,) * 3, (across + down) / 2),
        "vignette": ramp((250,) * 3, (170,) * 3, 2 * ((across - 0.5) ** 2 + (down - 0.5) ** 2)),
        "black to grey": ramp((0,) * 3, (90,) * 3, across),
        "noisy white": noisy(225, 15, 1),
        "noisy grey": noisy(128, 20, 3),
        "noisy black": noisy(8, 8, 3),
        "text on white": written(white, (0, 0, 0)),
        "text on black": written(even(0, 0, 0), (255, 255, 255)),
        "text on grey": written(grey, (200, 0, 0)),
    }
    made = {name: (lay_on(ground), MIDDLE) for name, ground in grounds.items()}
    places = {
        "cut on the left": FovCircle(200, 90, 165),
        "cut on the right": FovCircle(200, 440, 165),
        "cut at the top": FovCircle(50, 260, 165),
        "cut in a corner": FovCircle(110, 120, 165),
        "cut at top and bottom": FovCircle(200, 260, 225),
        "off centre": FovCircle(165, 200, 125),
        "a thirtieth of the frame": FovCircle(250, 170, 48),
    }
    for name, disc in places.items():
        for ground in ("white", "steel"):
            made[f"{name}, {ground}"] = lay_on(grounds[ground], disc), disc
    made["a thirtieth of the frame, black"] = lay_on(grounds["black"], disc), disc
    for quality in (80, 30):
        for ground in ("white", "grey"):
            pixels = as_jpeg(lay_on(grounds[ground]), quality)
            made[f"JPEG {quality}, {ground}"] = pixels, MIDDLE
    small = FovCircle(200, 260, 135)
    made["black bars above and below, white"] = bars(lay_on(white, small), 50, 0, 0), small
    made["black bars at the sides, white"] = bars(lay_on(white, small), 0, 70, 0), small
    made["white bars, black"] = bars(lay_on(even(0, 0, 0), small), 50, 0, 255), small
    page = bars(lay_on(even(0, 0, 0), small), 40, 60, 250)
    cv2.putText(page, "Report of 2019-03-04", (70, 25), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1)
    made["scanned page"] = as_jpeg(page, 80), small
    return {name: (pixels, disc.mask(SHAPE)) for name, (pixels, disc) in made.items()}


MADE = made_surrounds()


def overlap(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize(("pixels", "truth"), MADE.values(), ids=MADE.keys())
def test_the_retina_is_found_on_every_ground(pixels: Pixels, truth: Mask) -> None:
    image = FundusImage.from_array(pixels)
    found = find_field_of_view(image)
    assert overlap(found, truth) > (0.97 if truth.mean() > 0.05 else 0.95)
    assert all("px wide" in warning for warning in check_retina(image, found))


def test_there_are_forty_grounds() -> None:
    assert len(MADE) >= 40


def test_the_working_scale_is_that_of_the_disc_on_black() -> None:
    on_black, on_white = (
        fit_fov_circle(find_field_of_view(FundusImage.from_array(MADE[name][0])))
        for name in ("black", "white")
    )
    assert on_white.diameter == pytest.approx(on_black.diameter, rel=0.01)


@pytest.mark.parametrize("radius", [12, 20, 40])
@pytest.mark.parametrize("ground", [(0, 0, 0), (255, 255, 255)])
def test_a_tiny_retina_is_not_the_whole_frame(
    radius: int, ground: tuple[float, float, float]
) -> None:
    disc = FovCircle(320, 400, radius)
    found = find_field_of_view(FundusImage.from_array(lay_on(even(*ground), disc)))
    assert overlap(found, disc.mask(SHAPE)) > 0.8


def test_a_surround_is_told_from_a_retina_that_fills_the_frame() -> None:
    whole = lay_on(even(255, 255, 255), FovCircle(200, 260, 400))
    assert find_field_of_view(FundusImage.from_array(whole)).all()
    assert check_retina(FundusImage.from_array(whole)) == ()


def test_a_dark_border_has_no_surround_to_fit() -> None:
    assert fit_surround(lay_on(even(10, 10, 10))) is None


def test_the_colour_of_an_uneven_surround_is_known_everywhere() -> None:
    down, across = np.mgrid[: SHAPE[0], : SHAPE[1]] / np.reshape(SHAPE, (2, 1, 1))
    ground = ramp((120, 140, 200), (250, 250, 250), across * down)
    surround = fit_surround(lay_on(ground))
    assert surround is not None
    assert surround.distance(ground.astype(np.uint8)).max() <= 6
    inside = FovCircle(MIDDLE.centre_row, MIDDLE.centre_col, 170).mask(SHAPE)
    assert np.percentile(surround.distance(lay_on(ground))[inside], 5) > 40
