"""A photograph is known by its content: copies are found, other retinas are not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from napari_fundus.image import FundusImage, read_identity, read_image
from napari_fundus.image_identity import (
    MAX_DISTANCE,
    ImageIdentity,
    KnownImages,
    hash_distance,
    perceptual_hash,
)
from napari_fundus.samples import normal_image_path


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    """A real retina, 706 px wide."""
    pixels = read_image(normal_image_path()).rgb8
    return cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(
        cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR
    )


def resized(pixels: np.ndarray, scale: float) -> np.ndarray:
    return cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


COPIES = {
    "half the size": lambda p: resized(p, 0.5),
    "a quarter of the size": lambda p: resized(p, 0.25),
    "other proportions": lambda p: cv2.resize(p, (400, 300), interpolation=cv2.INTER_AREA),
    "JPEG 90": lambda p: jpeg(p, 90),
    "JPEG 75": lambda p: jpeg(p, 75),
    "half, JPEG 75": lambda p: jpeg(resized(p, 0.5), 75),
    "a black border": lambda p: np.pad(p, ((60, 60), (200, 200), (0, 0))),
    "darker": lambda p: (p * 0.7).astype(np.uint8),
}

OTHERS = {
    "mirrored, as the other eye": lambda p: p[:, ::-1].copy(),
    "upside down": lambda p: p[::-1].copy(),
    "a quarter turn": lambda p: np.rot90(p).copy(),
    "another part": lambda p: p[: p.shape[0] // 2],
}


@pytest.mark.parametrize("how", COPIES)
def test_copies_share_the_perceptual_hash(photograph, how) -> None:
    one = FundusImage.from_array(photograph).identity
    copy = FundusImage.from_array(COPIES[how](photograph)).identity
    assert copy.sha256 != one.sha256
    assert hash_distance(one.perceptual, copy.perceptual) <= MAX_DISTANCE // 2
    assert one.same_photograph(copy) is True


@pytest.mark.parametrize("how", OTHERS)
def test_other_pictures_do_not(photograph, how) -> None:
    one = FundusImage.from_array(photograph).identity
    assert one.same_photograph(FundusImage.from_array(OTHERS[how](photograph)).identity) is False


def test_retinas_of_two_seeds_are_different_photographs(draw) -> None:
    found = [FundusImage.from_array(draw(seed=seed).pixels).identity for seed in range(4)]
    for index, one in enumerate(found):
        for other in found[index + 1 :]:
            assert one.same_photograph(other) is False


def test_the_same_pixels_are_one_photograph_whatever_the_name(retina) -> None:
    one, other = (FundusImage.from_array(retina.pixels, name=n).identity for n in "ab")
    assert one.sha256 == other.sha256
    assert one.same_photograph(other) is True


def test_pictures_that_show_nothing_have_no_perceptual_hash() -> None:
    for level in (0, 128):
        assert perceptual_hash(np.full((100, 120, 3), level, np.uint8)) == ""


def test_what_is_not_known_is_neither_the_same_nor_another() -> None:
    exact = ImageIdentity(sha256="a" * 64)
    look = ImageIdentity(perceptual="0" * 64)
    assert exact.same_photograph(None) is None
    assert exact.same_photograph(ImageIdentity(name="eye")) is None
    assert exact.same_photograph(look) is None
    assert exact.same_photograph(ImageIdentity(sha256="b" * 64)) is False
    assert look.same_photograph(ImageIdentity(perceptual="f" * 64)) is False


def test_the_nearest_of_many_is_looked_up() -> None:
    bits = (1 << 256) - 1
    known = KnownImages(
        [
            ImageIdentity(name="far", sha256="a" * 64, perceptual=f"{bits:064x}"),
            ImageIdentity(name="near", perceptual=f"{0b1011:064x}"),
            ImageIdentity(name="nothing known"),
        ]
    )
    assert known.find(ImageIdentity(perceptual="0" * 64)).name == "near"
    assert known.find(ImageIdentity(sha256="a" * 64)).name == "far"
    assert known.find(ImageIdentity(perceptual=f"{(1 << (MAX_DISTANCE + 3)) - 1:064x}")).name == (
        "near"
    )
    assert known.find(ImageIdentity(perceptual=f"{(1 << (MAX_DISTANCE + 4)) - 1:064x}")) is None
    assert known.find(ImageIdentity(sha256="b" * 64)) is None
    assert known.find(None) is None
    assert not KnownImages([])
    assert KnownImages([]).find(ImageIdentity(perceptual="0" * 64)) is None


def test_a_file_is_read_again_when_it_changed(tmp_path, draw) -> None:
    path = tmp_path / "eye.png"
    first, second = draw(seed=1).pixels, draw(height=200, seed=2).pixels
    for pixels in (first, second):
        assert cv2.imwrite(str(path), pixels[..., ::-1])
        assert read_identity(path) == FundusImage.from_array(pixels, name="eye").identity
