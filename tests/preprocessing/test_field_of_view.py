"""The field of view is found whatever surrounds it, and its circle whatever cuts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from napari_fundus.errors import NoFieldOfViewError
from napari_fundus.image import FundusImage, read_image
from napari_fundus.preprocessing import FovCircle, find_field_of_view, fit_fov_circle
from napari_fundus.preprocessing.fov_circle import fit_aspect
from napari_fundus.samples import normal_image_path, sample_image_path

Pixels = npt.NDArray[Any]


def photograph(
    disc: FovCircle,
    shape: tuple[int, int],
    *,
    light: float = 1.0,
    surround: float = 1.5,
    texture: bool = True,
) -> Pixels:
    """Draw a disc with texture, a bright optic disc and a vignette, on a noisy dark surround."""
    rng = np.random.default_rng(1)
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    away = np.hypot(rows - disc.centre_row, cols - disc.centre_col) / disc.radius
    image = np.array([190.0, 95.0, 40.0]) * (1 - 0.4 * away[..., np.newaxis] ** 2)
    if texture:
        waves = np.sin(rows / 17.0) * np.sin(cols / 23.0 + rows / 40.0)
        image *= 1 + 0.15 * waves[..., np.newaxis]
        near = np.hypot(rows - disc.centre_row, cols - disc.centre_col - 0.6 * disc.radius)
        image[near < 0.15 * disc.radius] *= 1.35
    image *= light
    image[away > 1] = 0
    image += np.abs(rng.normal(0, surround, (*shape, 1)))
    return np.clip(image, 0, 255).astype(np.uint8)


def overlap(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


CUTS = {
    "whole": FovCircle(240, 320, 220),
    "cut at top and bottom": FovCircle(240, 320, 280),
    "cut on the left": FovCircle(240, 120, 200),
    "cut on three sides": FovCircle(200, 280, 330),
    "only the corners are dark": FovCircle(240, 320, 370),
}


@pytest.mark.parametrize("disc", CUTS.values(), ids=CUTS.keys())
def test_the_disc_is_found_wherever_the_frame_cuts_it(disc: FovCircle) -> None:
    shape = (480, 640)
    image = FundusImage.from_array(photograph(disc, shape))
    mask = find_field_of_view(image)
    assert overlap(mask, disc.mask(shape)) > 0.985
    fitted = fit_fov_circle(mask)
    assert fitted.centre_row == pytest.approx(disc.centre_row, abs=0.01 * disc.diameter)
    assert fitted.centre_col == pytest.approx(disc.centre_col, abs=0.01 * disc.diameter)
    assert fitted.radius == pytest.approx(disc.radius, rel=0.015)


@pytest.mark.parametrize("light", [0.08, 0.2, 0.5, 1.3])
def test_dark_and_bright_photographs_give_the_same_disc(light: float) -> None:
    disc = FovCircle(240, 320, 220)
    image = FundusImage.from_array(photograph(disc, (480, 640), light=light))
    assert overlap(find_field_of_view(image), disc.mask((480, 640))) > 0.97


def test_a_retina_that_otsu_would_split_is_found_whole() -> None:
    disc = FovCircle(240, 320, 220)
    pixels = photograph(disc, (480, 640)).astype(np.float64)
    lit = np.arange(640) > 330
    pixels[:, ~lit] *= 0.12
    image = FundusImage.from_array(pixels.astype(np.uint8))
    otsu, _ = cv2.threshold(image.pixels[..., 1].copy(), 0, 255, cv2.THRESH_OTSU)
    assert overlap(image.pixels[..., 1] > otsu, disc.mask((480, 640))) < 0.6
    assert overlap(find_field_of_view(image), disc.mask((480, 640))) > 0.97


def test_glow_around_the_disc_is_not_field_of_view() -> None:
    disc = FovCircle(240, 320, 200)
    pixels = photograph(disc, (480, 640)).astype(np.float64)
    glow = FovCircle(240, 335, 225).mask((480, 640)) & ~disc.mask((480, 640))
    pixels[glow] += (9, 5, 3)
    image = FundusImage.from_array(pixels.astype(np.uint8))
    assert overlap(find_field_of_view(image), disc.mask((480, 640))) > 0.98


def test_burnt_in_text_is_left_out_even_where_it_is_bright() -> None:
    disc = FovCircle(240, 320, 220)
    pixels = photograph(disc, (480, 640))
    cv2.putText(pixels, "45 deg", (5, 30), cv2.FONT_HERSHEY_SIMPLEX, 1, (255, 255, 255), 2)
    cv2.putText(pixels, "2019-03", (500, 470), cv2.FONT_HERSHEY_SIMPLEX, 1, (255, 255, 255), 2)
    mask = find_field_of_view(FundusImage.from_array(pixels))
    assert overlap(mask, disc.mask((480, 640))) > 0.985
    assert not mask[:40, :100].any()


def test_a_notch_stays_in_the_mask_and_out_of_the_circle() -> None:
    disc = FovCircle(240, 320, 220)
    pixels = photograph(disc, (480, 640))
    notch = np.zeros((480, 640), np.bool_)
    notch[100:130, 490:520] = True
    pixels[notch] = (150, 80, 30)
    mask = find_field_of_view(FundusImage.from_array(pixels))
    assert mask[notch].mean() > 0.9
    assert fit_fov_circle(mask).radius == pytest.approx(220, rel=0.01)


def test_black_borders_do_not_hide_where_the_disc_was_cut() -> None:
    disc = FovCircle(300, 400, 280)
    pixels = photograph(disc, (600, 800))
    pixels[:100] = 0
    pixels[500:] = 0
    mask = find_field_of_view(FundusImage.from_array(pixels))
    expected = disc.mask((600, 800))
    expected[:100] = expected[500:] = False
    assert overlap(mask, expected) > 0.985
    assert fit_fov_circle(mask).radius == pytest.approx(280, rel=0.015)


def test_holes_and_dark_bites_at_the_rim_are_field_of_view() -> None:
    disc = FovCircle(240, 320, 220)
    pixels = photograph(disc, (480, 640))
    pixels[200:260, 280:340] = 2
    pixels[FovCircle(240, 110, 40).mask((480, 640))] = 1
    mask = find_field_of_view(FundusImage.from_array(pixels))
    assert mask[200:260, 280:340].all()
    assert overlap(mask, disc.mask((480, 640))) > 0.97


def test_a_picture_cropped_inside_the_disc_is_all_field_of_view() -> None:
    pixels = photograph(FovCircle(240, 320, 900), (480, 640))
    mask = find_field_of_view(FundusImage.from_array(pixels))
    assert mask.all()
    disc = fit_fov_circle(mask)
    assert disc.mask(mask.shape).all()
    assert disc.diameter == pytest.approx(np.hypot(480, 640))


def test_a_crop_of_a_real_retina_is_all_field_of_view() -> None:
    whole = read_image(normal_image_path())
    image = FundusImage.from_array(whole.pixels[400:1000, 300:1100])
    assert find_field_of_view(image).all()


def test_a_given_field_of_view_is_returned_unchanged() -> None:
    given = FovCircle(100, 100, 50).mask((200, 200))
    image = FundusImage.from_array(np.zeros((200, 200, 3), np.uint8), field_of_view=given)
    assert find_field_of_view(image) is given


def test_an_empty_given_field_of_view_is_refused() -> None:
    image = FundusImage.from_array(
        np.zeros((200, 200, 3), np.uint8), field_of_view=np.zeros((200, 200), np.bool_)
    )
    with pytest.raises(NoFieldOfViewError, match=r"given.*empty"):
        find_field_of_view(image)


def _noise(shape: tuple[int, ...], low: int, high: int) -> Pixels:
    return np.random.default_rng(0).integers(low, high, shape).astype(np.uint8)


@pytest.mark.parametrize(
    ("pixels", "word"),
    [
        (np.zeros((300, 400, 3), np.uint8), "black"),
        (_noise((300, 400, 3), 0, 5), "black"),
        (np.full((300, 400, 3), 120, np.uint8), "uniform"),
        (np.full((64, 64, 3), 255, np.uint8), "uniform"),
        (_noise((300, 400, 3), 0, 256), "noise"),
        (_noise((64, 64, 3), 0, 256), "noise"),
    ],
)
def test_pictures_without_a_retina_are_refused_with_advice(pixels: Pixels, word: str) -> None:
    with pytest.raises(NoFieldOfViewError, match=rf"{word}.*Check the file"):
        find_field_of_view(FundusImage.from_array(pixels))


def test_large_noise_is_refused_too() -> None:
    with pytest.raises(NoFieldOfViewError):
        find_field_of_view(FundusImage.from_array(_noise((2000, 3000, 3), 0, 256)))


def test_sixteen_bit_and_eight_bit_agree() -> None:
    pixels = photograph(FovCircle(240, 320, 220), (480, 640))
    deep = FundusImage.from_array(pixels.astype(np.uint16) << 4)
    eight = find_field_of_view(FundusImage.from_array(pixels))
    assert overlap(find_field_of_view(deep), eight) > 0.999


def test_the_smallest_images_work() -> None:
    disc = FovCircle(32, 32, 28)
    image = FundusImage.from_array(photograph(disc, (64, 64), texture=False))
    assert overlap(find_field_of_view(image), disc.mask((64, 64))) > 0.93


def test_the_samples_have_discs_of_known_size() -> None:
    lesions = fit_fov_circle(find_field_of_view(read_image(sample_image_path())))
    assert lesions.diameter == pytest.approx(3410, rel=0.01)
    assert lesions.radius > 2848 / 2
    normal = fit_fov_circle(find_field_of_view(read_image(normal_image_path())))
    assert normal.diameter == pytest.approx(1390, rel=0.01)


def test_an_empty_mask_has_no_disc() -> None:
    with pytest.raises(NoFieldOfViewError, match="empty"):
        fit_fov_circle(np.zeros((50, 50), np.bool_))


@pytest.mark.parametrize("radius", [20.0, 100.5, 700.25])
def test_a_clean_circle_is_fitted_to_a_fraction_of_a_pixel(radius: float) -> None:
    size = int(2 * radius + 20)
    true = FovCircle(size / 2 + 0.3, size / 2 - 0.4, radius)
    disc = fit_fov_circle(true.mask((size, size)))
    assert disc.centre_row == pytest.approx(true.centre_row, abs=0.3)
    assert disc.centre_col == pytest.approx(true.centre_col, abs=0.3)
    assert disc.radius == pytest.approx(radius, abs=0.5)


@pytest.mark.parametrize("disc", CUTS.values(), ids=CUTS.keys())
def test_a_cut_circle_is_not_taken_for_a_stretched_one(disc: FovCircle) -> None:
    assert fit_aspect(disc.mask((480, 640))) == 1


@pytest.mark.parametrize("aspect", [0.7, 0.9, 1.1, 1.3])
def test_a_stretched_disc_is_found_and_its_aspect_told(aspect: float) -> None:
    height = round(480 * aspect)
    round_one = photograph(FovCircle(240, 320, 220), (480, 640))
    stretched = cv2.resize(round_one, (640, height), interpolation=cv2.INTER_AREA)
    mask = find_field_of_view(FundusImage.from_array(stretched))
    true = cv2.resize(FovCircle(240, 320, 220).mask((480, 640)).astype(np.uint8), (640, height))
    assert overlap(mask, true > 0) > 0.98
    assert fit_aspect(mask) == pytest.approx(aspect, rel=0.01)


@pytest.mark.shared_data
@pytest.mark.slow
def test_all_real_photographs_have_the_disc_of_their_camera(shared_data: Path) -> None:
    paths = sorted((shared_data / "idrid" / "A. Segmentation").rglob("IDRiD_*.jpg"))[::6]
    paths += sorted((shared_data / "idrid_healthy_fullres").glob("*.jpg"))[::8]
    for path in paths:
        mask = find_field_of_view(read_image(path))
        assert 0.79 < fit_fov_circle(mask).diameter / 4288 < 0.89, path.name
        assert fit_aspect(mask) == 1, path.name
