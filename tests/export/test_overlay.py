"""The picture shows every lesion, in colours that everyone can tell apart."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from napari_fundus.errors import FundusError
from napari_fundus.export import draw_overlay, write_overlay
from napari_fundus.export.overlay import FALSE_COLOUR, HIT_COLOUR, MISS_COLOUR
from napari_fundus.image import FundusImage
from napari_fundus.lesions import describe
from napari_fundus.results.detections import Detections

# Machado, Oliveira and Fernandes (2009), severity 1; they act on linear RGB.
SIGHT = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def rgb(colour: str) -> np.ndarray:
    return np.array(list(bytes.fromhex(colour[1:])))


def seen(colour: str, sight: str) -> np.ndarray:
    value = rgb(colour) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(SIGHT[sight]) @ linear, 0, 1)
    return rgb2lab(
        np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    )


def count(picture: np.ndarray, colour: str) -> int:
    return int((np.abs(picture.astype(int) - rgb(colour)).max(axis=2) < 40).sum())


@pytest.fixture
def grey() -> FundusImage:
    return FundusImage(np.full((600, 800, 3), 90, np.uint8), name="eye")


def blobs(*places: tuple[int, int], size: int = 30) -> np.ndarray:
    mask = np.zeros((600, 800), np.bool_)
    for row, col in places:
        mask[row : row + size, col : col + size] = True
    return mask


@pytest.mark.parametrize("sight", SIGHT)
def test_hit_miss_and_false_differ_for_everyone(sight: str) -> None:
    for one, other in itertools.combinations((HIT_COLOUR, MISS_COLOUR, FALSE_COLOUR), 2):
        assert deltaE_ciede2000(seen(one, sight), seen(other, sight)) >= 30


def test_each_class_is_outlined_in_its_colour(grey: FundusImage, make) -> None:
    found = make({"MA": blobs((100, 100)).astype(np.float32), "EX": np.zeros((600, 800), "f4")})
    picture = draw_overlay(grey, found)
    view = picture[60:-60]
    assert count(view, describe("MA").colour) > 100
    assert count(view, describe("EX").colour) < 100  # in the legend alone


def test_a_single_pixel_can_be_seen(grey: FundusImage, make) -> None:
    nothing = make({"MA": np.zeros((600, 800), np.float32)})
    dot = make({"MA": blobs((300, 400), size=1).astype(np.float32)})
    change = draw_overlay(grey, dot) != draw_overlay(grey, nothing)
    # The legend tells the count; the ring is in the middle of the picture.
    middle = change[200:450, 300:500].any(axis=2)
    assert middle.sum() > 50
    rows, cols = np.nonzero(middle)
    assert np.ptp(rows) < 30
    assert np.ptp(cols) < 30


def test_the_truth_adds_a_view_with_found_missed_and_false(grey: FundusImage, make) -> None:
    found = make({"MA": blobs((100, 100), (400, 600)).astype(np.float32)})
    truth = {"MA": blobs((110, 110), (300, 300)), "SE": blobs((5, 5))}
    plain, compared = draw_overlay(grey, found), draw_overlay(grey, found, truth=truth)
    assert compared.shape[1] > plain.shape[1]
    for colour in (HIT_COLOUR, MISS_COLOUR, FALSE_COLOUR):
        assert count(compared, colour) > 60
    all_found = draw_overlay(grey, found, truth={"MA": blobs((100, 100), (400, 600))})
    for colour in (MISS_COLOUR, FALSE_COLOUR):
        assert count(all_found, colour) < count(compared, colour) / 2


def test_the_picture_is_at_most_as_wide_as_asked(make) -> None:
    image = FundusImage(np.zeros((700, 3000, 3), np.uint8))
    found = make({"MA": np.zeros((700, 3000), np.float32)})
    truth = {"MA": np.zeros((700, 3000), np.bool_)}
    for width in (2000, 900):
        assert draw_overlay(image, found, max_width=width).shape[1] <= width
        assert draw_overlay(image, found, truth=truth, max_width=width).shape[1] <= width


def test_a_tiny_image_without_any_map_is_drawn(make) -> None:
    image = FundusImage(np.zeros((64, 64, 3), np.uint8), name="a very long name " * 9)
    assert draw_overlay(image, make({}, shape=(64, 64))).shape[2] == 3


@pytest.mark.parametrize(("suffix", "format_"), [(".png", "PNG"), (".jpg", "JPEG")])
def test_the_suffix_decides_the_format(
    photograph: FundusImage, result: Detections, tmp_path: Path, suffix: str, format_: str
) -> None:
    path = tmp_path / f"eye{suffix}"
    write_overlay(photograph, result, path)
    with Image.open(path) as picture:
        assert picture.format == format_


def test_what_cannot_be_drawn_is_told(
    photograph: FundusImage, result: Detections, grey: FundusImage, tmp_path: Path
) -> None:
    with pytest.raises(FundusError, match=r"as \.png or \.jpg"):
        write_overlay(photograph, result, tmp_path / "eye.bmp")
    with pytest.raises(FundusError, match="has shape"):
        draw_overlay(grey, result)
    assert list(tmp_path.iterdir()) == []
