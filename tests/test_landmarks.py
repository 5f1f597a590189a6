"""The disc is read from maps as they come: with islands, gaps, bridges, cut by the border."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from napari_fundus.landmarks import Fovea, Landmarks, OpticDisc, disc_of_map, disc_of_mask

SHAPE = (400, 500)


def circle(row, col, diameter, shape=SHAPE):
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    return (rows - row) ** 2 + (cols - col) ** 2 <= (diameter / 2) ** 2


def as_map(*masks, level=0.9):
    return np.where(np.any(masks, axis=0), np.float32(level), np.float32(0))


FIELD = circle(200, 250, 390)


def assert_near(disc, row, col, diameter, *, within=2.0):
    assert disc is not None
    assert disc.source == "detected"
    found = (disc.row, disc.col, disc.diameter)
    np.testing.assert_allclose(found, (row, col, diameter), atol=within)


@pytest.mark.parametrize("field", [FIELD, None], ids=["field of view", "none"])
@pytest.mark.parametrize("diameter", [40, 60.5, 90])
def test_a_drawn_disc_is_found_to_the_pixel(field, diameter) -> None:
    found = disc_of_map(as_map(circle(180, 150.5, diameter)), field_of_view=field)
    assert_near(found, 180, 150.5, diameter, within=1.2)


def test_islands_small_and_large_do_not_mislead() -> None:
    disc = circle(190, 140, 60)
    speckle = np.random.default_rng(0).random(SHAPE) > 0.99
    streak = np.zeros(SHAPE, np.bool_)
    streak[320:340, 120:400] = True  # more pixels than the disc, but no disc
    found = disc_of_map(as_map(disc, speckle & ~circle(190, 140, 90), streak), field_of_view=FIELD)
    assert_near(found, 190, 140, 60)


def test_of_two_discs_the_surer_one_counts() -> None:
    probability = np.maximum(as_map(circle(200, 150, 60)), as_map(circle(200, 350, 64), level=0.55))
    assert_near(disc_of_map(probability, field_of_view=FIELD), 200, 150, 60)


def test_vessels_through_the_disc_and_a_bridge_to_an_island_do_not_matter() -> None:
    mask = circle(200, 150, 70)
    mask[:, 148:153] = False
    mask[215:219] = False
    mask[198:202, 180:230] = True
    mask |= circle(200, 235, 16)
    assert_near(disc_of_map(as_map(mask), field_of_view=FIELD), 200, 150, 70, within=3)


def test_an_ellipse_has_the_diameter_of_the_circle_of_equal_area() -> None:
    rows, cols = np.ogrid[: SHAPE[0], : SHAPE[1]]
    ellipse = ((rows - 200) / 36) ** 2 + ((cols - 300) / 25) ** 2 <= 1
    assert_near(disc_of_map(as_map(ellipse), field_of_view=FIELD), 200, 300, 2 * np.sqrt(36 * 25))


@pytest.mark.parametrize("share", [0.3, 0.0, -0.2], ids=["a little", "half", "more than half"])
def test_a_disc_cut_by_the_field_of_view_is_completed(share) -> None:
    col = 250 - 195 + share * 60
    probability = as_map(circle(200, col, 60) & FIELD)
    assert_near(disc_of_map(probability, field_of_view=FIELD), 200, col, 60, within=4)


def test_a_disc_cut_by_the_frame_is_completed_and_may_have_its_centre_outside() -> None:
    probability = as_map(circle(-5, 250, 80))
    assert_near(disc_of_map(probability), -5, 250, 80, within=4)


@pytest.mark.parametrize(
    "probability",
    [
        np.zeros(SHAPE, np.float32),
        as_map(circle(200, 200, 60), level=0.4),
        as_map(circle(200, 200, 8)),
        as_map(circle(200, 250, 260)),
        as_map(FIELD),
        np.full(SHAPE, 1, np.float32),
        as_map(np.eye(*SHAPE, dtype=np.bool_)),
    ],
    ids=["nothing", "weak", "tiny", "huge", "the field", "everything", "a line"],
)
def test_where_there_is_no_disc_none_is_found(probability) -> None:
    assert disc_of_map(probability, field_of_view=FIELD) is None


def test_the_threshold_is_the_one_given_and_zero_takes_no_empty_pixel() -> None:
    weak = as_map(circle(200, 200, 60), level=0.4)
    assert_near(disc_of_map(weak, threshold=0.3, field_of_view=FIELD), 200, 200, 60)
    assert_near(disc_of_map(weak, threshold=0, field_of_view=FIELD), 200, 200, 60)


def test_an_empty_field_of_view_breaks_nothing() -> None:
    assert disc_of_map(np.zeros(SHAPE, np.float32), field_of_view=np.zeros(SHAPE, bool)) is None


def test_a_drawn_mask_is_taken_as_it_is() -> None:
    disc = disc_of_mask(circle(100, 120, 50))
    assert disc is not None
    assert (disc.row, disc.col, disc.source) == (100, 120, "annotated")
    assert disc.diameter == pytest.approx(50, abs=0.5)
    assert disc_of_mask(np.zeros(SHAPE, np.bool_)) is None


def test_what_is_known_comes_first_and_the_rest_is_completed() -> None:
    given = Landmarks(disc=OpticDisc(row=1, col=2), fovea=Fovea(row=3, col=4))
    found = Landmarks(disc=OpticDisc(row=9, col=9, diameter=50, source="detected"))
    whole = given.combine_first(found)
    assert whole.disc == OpticDisc(row=1, col=2, diameter=50)
    assert whole.fovea == given.fovea
    assert Landmarks().combine_first(found) == found
    assert (bool(Landmarks()), bool(found)) == (False, True)


def test_landmarks_survive_json() -> None:
    known = Landmarks(disc=OpticDisc(row=1.25, col=2, diameter=3.5, source="detected"))
    assert Landmarks.model_validate_json(known.model_dump_json()) == known


@pytest.mark.parametrize("diameter", [0, -1, float("nan"), float("inf")])
def test_a_diameter_is_positive_and_finite(diameter) -> None:
    with pytest.raises(ValidationError):
        OpticDisc(row=1, col=1, diameter=diameter)


@pytest.mark.shared_data
def test_real_discs_come_back_from_ragged_maps(shared_data) -> None:
    """The experts' discs of IDRiD, reduced, bitten by noise: centre and diameter stay."""
    import cv2

    import napari_fundus as nf

    rng = np.random.default_rng(0)
    for sample in nf.open_dataset(shared_data / "idrid").select(annotated="OD")[::9]:
        mask = sample.mask("OD", (2848, 4288))
        small = cv2.resize(mask.view(np.uint8), (1072, 712), interpolation=cv2.INTER_AREA) > 0
        truth = disc_of_mask(small)
        noise = cv2.GaussianBlur(rng.normal(size=small.shape), (0, 0), 5) * 8
        soft = cv2.GaussianBlur(small.astype(np.float32), (0, 0), 4) + 0.15 * noise
        found = disc_of_map(np.clip(soft, 0, 1).astype(np.float32))
        assert truth is not None
        assert found is not None
        assert np.hypot(found.row - truth.row, found.col - truth.col) < 0.05 * truth.diameter
        assert found.diameter == pytest.approx(truth.diameter, rel=0.1)
