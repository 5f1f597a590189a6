"""Pictures without a retina, or with several, are told; photographs of a retina never."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from skimage import data

from napari_fundus.image import FundusImage, read_image
from napari_fundus.preprocessing import check_retina, find_field_of_view
from napari_fundus.preprocessing.retina_check import measure_retina
from napari_fundus.samples import normal_image_path, sample_image_path

Pixels = npt.NDArray[Any]

SIDE = 400
ROWS, COLS = np.indices((SIDE, SIDE))
AWAY = np.hypot(ROWS - 199.5, COLS - 199.5)


def told(pixels: Pixels) -> tuple[str, ...]:
    return check_retina(FundusImage.from_array(pixels))


def reduced(path: Path, width: int) -> Pixels:
    pixels = read_image(path).rgb8
    size = width, round(width * pixels.shape[0] / pixels.shape[1])
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def in_a_disc(pixels: Pixels) -> Pixels:
    """Return the middle of a picture as a camera's disc shows it."""
    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    square = cv2.resize(pixels[top : top + side, left : left + side], (SIDE, SIDE))
    if square.ndim == 2:
        square = np.repeat(square[..., np.newaxis], 3, axis=2)
    square[AWAY > 190] = 0
    return square


def tinted(pixels: Pixels) -> Pixels:
    """Return the lightness of a picture in a retina's colours."""
    grey = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels[..., :3], cv2.COLOR_RGB2GRAY)
    return (grey[..., np.newaxis] * np.array([0.9, 0.5, 0.25])).astype(np.uint8)


def blobs(size: float) -> Pixels:
    noise = np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), size)
    return (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)


def house() -> Pixels:
    pixels = np.full((SIDE, SIDE, 3), (165, 190, 210), np.uint8)
    pixels[260:] = (95, 115, 65)
    pixels[100:330, 80:330] = (165, 115, 85)
    pixels[150:200, 120:160] = pixels[150:200, 240:280] = 45
    return pixels


def chequered() -> Pixels:
    squares = ((ROWS // 20 + COLS // 20) % 2)[..., np.newaxis]
    pixels = np.where(squares, (255, 255, 255), (40, 90, 200))
    pixels[AWAY > 180] = 0
    return pixels.astype(np.uint8)


def page() -> Pixels:
    pixels = np.full((SIDE, SIDE, 3), 245, np.uint8)
    for line in range(14):
        at = (20, 40 + 25 * line)
        cv2.putText(pixels, "lorem ipsum dolor sit amet", at, cv2.FONT_HERSHEY_SIMPLEX, 0.7, 0, 1)
    return pixels


NAMES = (
    *("astronaut", "brick", "camera", "cat", "cell", "clock", "coffee", "coins", "colorwheel"),
    *("grass", "gravel", "hubble_deep_field", "immunohistochemistry", "logo", "moon", "page"),
    *("rocket", "text"),
)
SAMPLES: dict[str, Pixels] = {name: getattr(data, name)() for name in NAMES}
OTHERS = {
    "a house": house(),
    "a chequered ball": chequered(),
    "a page": page(),
    "blobs": tinted(blobs(4)),
    "large blobs": tinted(blobs(20)),
    "an even disc": np.where(AWAY[..., np.newaxis] < 180, (200, 110, 50), 0).astype(np.uint8),
    "a ramp": np.broadcast_to((COLS * 0.6)[..., np.newaxis], (SIDE, SIDE, 3)).astype(np.uint8),
}
NO_RETINA = {
    **SAMPLES,
    **{f"{name} in a disc": in_a_disc(pixels[..., :3]) for name, pixels in OTHERS.items()},
    **{f"{name} in a disc": in_a_disc(SAMPLES[name][..., :3]) for name in ("cat", "coffee")},
    **OTHERS,
}


@pytest.mark.parametrize("pixels", NO_RETINA.values(), ids=NO_RETINA.keys())
def test_a_picture_without_a_retina_is_told(pixels: Pixels) -> None:
    said = " ".join(told(pixels))
    assert any(
        words in said for words in ("no photograph of a retina", "photographs:", "no colours")
    )


@pytest.mark.parametrize("name", ["astronaut", "cat", "coffee", "brick", "moon", "text"])
def test_a_retinas_colours_alone_do_not_pass(name: str) -> None:
    assert any("may be no photograph of a retina" in w for w in told(tinted(SAMPLES[name])))


NORMAL = reduced(normal_image_path(), SIDE)
DISEASED = reduced(sample_image_path(), 600)


@pytest.mark.parametrize(
    "pixels",
    [
        NORMAL,
        DISEASED,
        NORMAL[::-1, ::-1],
        np.rot90(DISEASED),
        NORMAL[100:300, 60:330],
        (0.3 * DISEASED).astype(np.uint8),
        cv2.GaussianBlur(NORMAL, (0, 0), 1.5),
        np.pad(DISEASED, ((90, 10), (50, 200), (0, 0))),
        reduced(normal_image_path(), 130),
    ],
    ids=["normal", "diseased", "turned", "quarter", "crop", "dark", "blurred", "padded", "small"],
)
def test_a_retina_is_never_told(pixels: Pixels) -> None:
    assert told(pixels) == ()


def test_a_grey_photograph_is_a_retina_without_colours() -> None:
    (warning,) = told(NORMAL[..., 1])
    assert "has no colours" in warning


def test_what_has_no_field_of_view_is_told_as_what_it_is() -> None:
    (warning,) = told(np.zeros((SIDE, SIDE, 3), np.uint8))
    assert "is black: it shows no retina" in warning


def test_a_retina_of_few_pixels_is_told() -> None:
    (warning,) = told(reduced(normal_image_path(), 90))
    assert "px wide" in warning


def test_nothing_is_measured_where_the_field_of_view_is_empty() -> None:
    image = FundusImage.from_array(NORMAL)
    assert check_retina(image, np.zeros(image.shape, np.bool_)) == ()


def test_measures_do_not_depend_on_size() -> None:
    small, large = (
        FundusImage.from_array(reduced(normal_image_path(), side)) for side in (SIDE, 2 * SIDE)
    )
    one, other = (measure_retina(image, find_field_of_view(image)) for image in (small, large))
    assert other.contrast == pytest.approx(one.contrast, rel=0.1)
    assert other.red == pytest.approx(one.red, abs=0.02)


def beside(*pictures: Pixels) -> Pixels:
    return np.concatenate(pictures, axis=1)


def on_ground(level: int) -> Pixels:
    """Return two retinas without their black, on paper."""
    pixels = np.full((460, 900, 3), level, np.uint8)
    for left in (20, 470):
        pixels[30:430, left : left + SIDE][AWAY < 193] = NORMAL[AWAY < 193]
    return pixels


GAP = np.full((SIDE, 40, 3), 255, np.uint8)
FRAME = ((30, 30), (30, 30), (0, 0))
PAIRS = {
    "side by side": (beside(NORMAL, NORMAL[:, ::-1]), 2),
    "one above the other": (np.concatenate([NORMAL, NORMAL[::-1]]), 2),
    "three": (beside(NORMAL, NORMAL, NORMAL), 3),
    "four": (np.concatenate([beside(NORMAL, NORMAL[:, ::-1])] * 2), 4),
    "cut discs": (beside(DISEASED, DISEASED[:, ::-1]), 2),
    "discs that touch": (beside(NORMAL[:, 40:360], NORMAL[:, 40:360]), 2),
    "of two sizes": (beside(NORMAL, np.pad(NORMAL[::2, ::2], ((100, 100), (0, 0), (0, 0)))), 1),
    "of nearly one size": (beside(NORMAL, cv2.resize(DISEASED, (602, SIDE))), 2),
    "on white": (on_ground(255), 2),
    "on white, with their black": (
        np.pad(beside(NORMAL, GAP, NORMAL), FRAME, constant_values=255),
        2,
    ),
    "on grey": (on_ground(120), 2),
}


@pytest.mark.parametrize(("pixels", "number"), PAIRS.values(), ids=PAIRS.keys())
def test_several_photographs_in_one_picture_are_counted(pixels: Pixels, number: int) -> None:
    image = FundusImage.from_array(pixels)
    field = find_field_of_view(image)
    warnings = check_retina(image, field)
    if number == 1:  # a quarter of the area is an inset rather than another photograph
        assert warnings == ()
    else:
        (warning,) = warnings
        assert f"holds {number} photographs" in warning
    assert field.mean() < 0.6


def test_the_place_of_the_analysed_one_is_right() -> None:
    image = FundusImage.from_array(beside(np.pad(NORMAL, ((0, 0), (0, 40), (0, 0))), NORMAL))
    field = find_field_of_view(image)
    left = field[:, :SIDE].sum() > field[:, SIDE:].sum()
    assert f"the one {'left' if left else 'right'} was analysed" in check_retina(image, field)[0]


def test_a_seam_through_the_field_of_view_is_told() -> None:
    one, other = NORMAL[100:300, 100:300], 0.6 * NORMAL[150:350, 60:260]
    (warning,) = told(beside(one, other).astype(np.uint8))
    assert "A straight seam" in warning
