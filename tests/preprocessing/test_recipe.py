"""Recipes are values that can be saved, and what they do to the geometry can be undone."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from napari_fundus.errors import Cancelled, NoFieldOfViewError, OptionsError
from napari_fundus.image import FundusImage, read_image
from napari_fundus.preprocessing import (
    FovCircle,
    Recipe,
    enhance,
    find_field_of_view,
    preset_descriptions,
)
from napari_fundus.preprocessing.geometry import Geometry
from napari_fundus.runtime.progress import Monitor, Progress
from napari_fundus.samples import sample_image_path


def cut_disc() -> tuple[FundusImage, FovCircle]:
    """A disc of 400 px that the frame cuts at top and bottom, with a red-green gradient."""
    disc = FovCircle(149.5, 229.5, 200)
    rows, cols = np.mgrid[:300, :460]
    pixels = np.stack([100 + rows / 4, 60 + cols / 6, 30 + (rows + cols) / 20], axis=-1)
    pixels[~disc.mask((300, 460))] = 0
    return FundusImage.from_array(pixels.astype(np.uint8)), disc


@pytest.mark.parametrize("name", preset_descriptions())
def test_every_preset_survives_json_and_runs(name: str) -> None:
    recipe = Recipe.preset(name)
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    image, _ = cut_disc()
    prepared = recipe.apply(image)
    assert prepared.pixels.shape[:2] == prepared.field_of_view.shape
    assert not prepared.pixels[~prepared.field_of_view].any()
    assert prepared.to_original(prepared.field_of_view).shape == image.shape


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("voting", {"alpha": 4, "beta": -10, "gamma": 128, "sigma": 10, "channel": "green"}),
        ("voting_soft", {"alpha": 4, "beta": -4, "gamma": 128, "sigma": 10, "channel": "green"}),
        ("multiscale", {"alpha": 4, "beta": -4, "gamma": 128, "sigma": 1024 / 30}),
        ("mask_rcnn", {"alpha": 4, "beta": -4, "gamma": 128, "sigma": 20, "side": 1024}),
        ("local_mean", {"alpha": 4, "beta": -4, "gamma": 128, "sigma": 30}),
        ("graham", {"disc_diameter": 600, "sigma": 10}),
    ],
)
def test_presets_hold_the_papers_figures(name: str, expected: dict[str, Any]) -> None:
    recipe = Recipe.preset(name)
    assert {key: getattr(recipe, key) for key in expected} == expected
    assert recipe.enhance


def test_every_field_can_make_a_form() -> None:
    for name, field in Recipe.model_fields.items():
        assert field.title, name
        assert field.description, name


def test_unknown_names_fields_and_values_are_refused() -> None:
    with pytest.raises(OptionsError, match=r"nothing.*voting"):
        Recipe.preset("nothing")
    with pytest.raises(ValidationError):
        Recipe.model_validate({"sigmma": 3})
    with pytest.raises(ValidationError):
        Recipe(sigma=0)
    with pytest.raises(ValidationError):
        Recipe.model_validate({"crop": "somewhere"})


def test_no_steps_leave_the_pixels_alone_within_the_field_of_view() -> None:
    image, _ = cut_disc()
    prepared = Recipe().apply(image)
    inside = prepared.field_of_view
    np.testing.assert_array_equal(prepared.pixels[inside], image.pixels[inside])
    assert prepared.geometry == Geometry.identity(image.shape)


def test_the_recipe_enhances_as_enhance_does() -> None:
    image, _ = cut_disc()
    fov = find_field_of_view(image)
    expected = enhance(image.rgb8, field_of_view=fov, alpha=4, beta=-4, gamma=128, sigma=20)
    expected[~fov] = 0
    recipe = Recipe(enhance=True, alpha=4, beta=-4, gamma=128, sigma=20)
    assert np.abs(recipe.apply(image).pixels.astype(int) - expected).max() <= 1


def test_circle_and_side_give_the_whole_disc_on_a_square() -> None:
    image, _ = cut_disc()
    prepared = Recipe(crop="circle", resize="side", side=256).apply(image)
    assert prepared.pixels.shape == (256, 256, 3)
    fov = prepared.field_of_view
    assert not fov[:20].any()
    assert not fov[-20:].any()
    assert fov[128].mean() > 0.98


@pytest.mark.parametrize("size", [(460, 240), (460, 330), (320, 300)])
def test_a_stretched_disc_becomes_a_circle_and_comes_back(size: tuple[int, int]) -> None:
    """A picture saved with oblong pixels: its disc is an ellipse."""
    round_one = np.zeros((300, 460, 3), np.uint8)
    round_one[FovCircle(149.5, 229.5, 140).mask((300, 460))] = (160, 90, 40)
    image = FundusImage.from_array(cv2.resize(round_one, size, interpolation=cv2.INTER_AREA))
    prepared = Recipe(crop="circle", resize="side", side=256).apply(image)
    fov = prepared.field_of_view
    assert fov.shape == (256, 256)
    assert fov.mean() == pytest.approx(np.pi / 4, abs=0.02)
    assert not fov[:30, :30].any()
    points = [[100.0, 120.0], [20.5, 200.25]]
    there = prepared.geometry.forward_points(points)
    np.testing.assert_allclose(prepared.geometry.inverse_points(there), points)
    back = prepared.geometry.inverse_mask(fov)
    disagreement = (back ^ prepared.original_field_of_view).sum()
    assert disagreement < 0.02 * fov.sum()


def test_working_scale_brings_the_disc_to_its_diameter() -> None:
    image, disc = cut_disc()
    prepared = Recipe(resize="disc", disc_diameter=200).apply(image)
    assert prepared.geometry.scale[0] == pytest.approx(200 / disc.diameter, rel=0.02)
    assert prepared.field_of_view.any(axis=0).sum() == pytest.approx(200, abs=4)


@pytest.mark.parametrize("crop", ["none", "disc", "circle"])
@pytest.mark.parametrize("side", [230, 460, 900])
def test_a_map_comes_back_to_its_place_in_the_original(crop: Any, side: int) -> None:
    image, _ = cut_disc()
    spot = np.zeros(image.shape, np.float32)
    spot[100:121, 150:181] = 1
    prepared = Recipe(crop=crop, resize="side", side=side).apply(image)
    back = prepared.to_original(prepared.geometry.forward_image(spot))
    assert back.dtype == np.float32
    assert back.shape == image.shape
    rows, cols = np.nonzero(back >= 0.5)
    assert abs(rows.mean() - 110) <= 0.5
    assert abs(cols.mean() - 165) <= 0.5


def test_maps_are_nothing_outside_the_original_field_of_view() -> None:
    image, disc = cut_disc()
    prepared = Recipe(crop="circle", resize="side", side=128).apply(image)
    back = prepared.to_original(np.ones(prepared.field_of_view.shape))
    outside = ~FovCircle(disc.centre_row, disc.centre_col, disc.radius + 3).mask(image.shape)
    assert not back[outside].any()
    inside = FovCircle(disc.centre_row, disc.centre_col, disc.radius - 6).mask(image.shape)
    np.testing.assert_allclose(back[inside], 1)


def test_standardized_planes_have_mean_0_and_deviation_1_in_the_disc() -> None:
    image, _ = cut_disc()
    prepared = Recipe(standardize=True).apply(image)
    assert prepared.pixels.dtype == np.float32
    values = prepared.pixels[prepared.field_of_view]
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-3)


def test_the_green_plane_is_the_second() -> None:
    image, _ = cut_disc()
    prepared = Recipe(channel="green").apply(image)
    assert prepared.pixels.ndim == 2
    inside = prepared.field_of_view
    np.testing.assert_array_equal(prepared.pixels[inside], image.pixels[inside][:, 1])


@pytest.mark.parametrize("channel", ["rgb", "green"])
def test_clahe_raises_local_contrast(channel: Any) -> None:
    image, _ = cut_disc()
    texture = 3 * (np.indices(image.shape).sum(axis=0) % 2).astype(np.uint8)
    image = FundusImage.from_array(image.pixels + texture[..., np.newaxis])
    plain = Recipe(channel=channel).apply(image).pixels[100:200, 100:300].astype(float)
    equalized = Recipe(channel=channel, clahe=True).apply(image).pixels[100:200, 100:300]
    steps = np.abs(np.diff(equalized.astype(float), axis=1)).mean()
    assert steps > 1.2 * np.abs(np.diff(plain, axis=1)).mean()


def test_voting_as_printed_drives_even_ground_to_black_and_the_soft_one_to_grey() -> None:
    image, _ = cut_disc()
    printed, soft = (Recipe.preset(name).apply(image) for name in ("voting", "voting_soft"))
    assert np.median(printed.pixels[printed.field_of_view]) == 0
    assert abs(np.median(soft.pixels[soft.field_of_view]) - 128) <= 2


def test_a_given_field_of_view_is_used() -> None:
    given = FovCircle(100, 100, 60).mask((200, 220))
    pixels = np.random.default_rng(0).integers(60, 200, (200, 220, 3)).astype(np.uint8)
    image = FundusImage.from_array(pixels, field_of_view=given)
    np.testing.assert_array_equal(Recipe().apply(image).field_of_view, given)


def test_sixteen_bit_images_are_prepared_in_eight() -> None:
    image, _ = cut_disc()
    deep = FundusImage.from_array(image.pixels.astype(np.uint16) << 4)
    np.testing.assert_array_equal(Recipe().apply(deep).pixels, Recipe().apply(image).pixels)


def test_progress_rises_to_1_and_cancelling_stops() -> None:
    image, _ = cut_disc()
    seen: list[Progress] = []
    Recipe.preset("mask_rcnn").apply(image, Monitor(seen.append))
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    stopped = Monitor()
    stopped.cancel()
    with pytest.raises(Cancelled):
        Recipe().apply(image, stopped)


def test_a_black_picture_is_refused() -> None:
    with pytest.raises(NoFieldOfViewError):
        Recipe().apply(FundusImage.from_array(np.zeros((100, 100), np.uint8)))


def test_the_sample_is_prepared_for_mask_rcnn_as_a_full_circle() -> None:
    prepared = Recipe.preset("mask_rcnn").apply(read_image(sample_image_path()))
    assert prepared.pixels.shape == (1024, 1024, 3)
    # The frame cuts the disc at top and bottom: the circle is whole, the picture is not.
    assert 0.6 < prepared.field_of_view.mean() < np.pi / 4
    inside = prepared.pixels[prepared.field_of_view]
    assert np.abs(np.median(inside, axis=0) - 128).max() < 6
