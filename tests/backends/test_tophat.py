"""The top-hat detector: what it finds, and what holds whatever it finds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from napari_fundus.backends.tophat import TopHat, TopHatOptions
from napari_fundus.backends.tophat.score import contrast_score
from napari_fundus.errors import Cancelled, NoFieldOfViewError, OptionsError
from napari_fundus.evaluation import assess
from napari_fundus.image import FundusImage, read_image, read_pixels
from napari_fundus.plugins import find_detectors, get_detector
from napari_fundus.runtime.progress import Monitor
from napari_fundus.samples import normal_image_path, sample_folder, sample_image_path

# The drawn retina's lesions are large for its size.
DRAWN = {
    "microaneurysm_size": 0.04,
    "haemorrhage_size": 0.15,
    "exudate_size": 0.1,
    "optic_disc_size": 0.0,
}


def draw_background(side: int) -> np.ndarray:
    """Return a plain retina, the disc cut by nothing, without any lesion."""
    rows, cols = np.mgrid[:side, :side]
    radius = 0.47 * side
    distance = np.hypot(rows - (side - 1) / 2, cols - (side - 1) / 2) / radius
    pixels = np.array([190.0, 95.0, 35.0]) * (1 - 0.25 * distance[..., np.newaxis] ** 2)
    pixels[distance > 1] = 0
    return pixels.astype(np.uint8)


def test_is_installed_as_a_plugin_and_broken_in_no_way() -> None:
    assert isinstance(get_detector("tophat"), TopHat)
    assert find_detectors().sources["tophat"] == "napari-fundus"


def test_maps_are_in_original_pixels_and_zero_outside_the_disc(retina) -> None:
    image = FundusImage.from_array(retina.pixels)
    result = TopHat().detect(image)
    assert result.lesions == ("MA", "HE", "EX")
    assert result.field_of_view is not None
    for array in result.probability.values():
        assert array.dtype == np.float32
        assert array.shape == image.shape
        assert array.min() >= 0
        assert array.max() <= 1
        assert not array[~result.field_of_view].any()


@pytest.mark.parametrize("lesion", ["MA", "HE", "EX"])
def test_finds_every_drawn_lesion_and_little_else(retina, lesion) -> None:
    # No lens is as sharp as the drawing, whose noise differs from pixel to pixel.
    seen = cv2.GaussianBlur(retina.pixels, (0, 0), 1.0)
    result = TopHat().detect(FundusImage.from_array(seen), DRAWN)
    row = assess(result, retina.masks).row(lesion)
    assert row["found"] == row["lesions"]
    assert row["false_positives"] <= 3
    assert row["dice"] > 0.5


def test_two_runs_give_the_same_numbers(retina) -> None:
    image = FundusImage.from_array(retina.pixels)
    first, second = TopHat().detect(image), TopHat().detect(image)
    for lesion in first.lesions:
        np.testing.assert_array_equal(first.probability[lesion], second.probability[lesion])


@pytest.mark.parametrize("lesion", ["MA", "HE", "EX"])
def test_result_hardly_depends_on_resolution(lesion) -> None:
    image = read_image(normal_image_path())
    pixels = image.pixels.copy()
    spots = {"MA": (6, 0.6, 3), "HE": (14, 0.6, 3), "EX": (9, 1.6, 3)}
    radius, shade, count = spots[lesion]
    places = [(500, 500), (700, 420), (950, 760)][:count]
    for row, col in places:
        dot = np.zeros(pixels.shape[:2], np.uint8)
        cv2.circle(dot, (col, row), radius, 1, thickness=-1)
        soft = cv2.GaussianBlur(dot.astype(np.float32), (0, 0), 1.5)[..., np.newaxis]
        pixels = np.clip(pixels * (1 + (shade - 1) * soft), 0, 255).astype(np.uint8)
    double = cv2.resize(pixels, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    small = TopHat().detect(FundusImage.from_array(pixels)).probability[lesion]
    large = TopHat().detect(FundusImage.from_array(double)).probability[lesion]
    for row, col in places:
        near = np.s_[row - 8 : row + 9, col - 8 : col + 9]
        near_double = np.s_[2 * row - 16 : 2 * row + 18, 2 * col - 16 : 2 * col + 18]
        assert small[near].max() > 0.5
        assert large[near_double].max() == pytest.approx(small[near].max(), abs=0.1)


def test_vessels_are_no_lesions() -> None:
    pixels = draw_background(600)
    for start, stop in (((60, 250), (540, 330)), ((200, 80), (420, 520)), ((300, 20), (300, 580))):
        cv2.line(pixels, start, stop, (120, 50, 25), 5, cv2.LINE_AA)
    result = TopHat().detect(FundusImage.from_array(pixels), {"optic_disc_size": 0.0})
    assert len(result.instances.query("lesion in ('MA', 'HE')")) <= 3


def test_a_plain_retina_has_no_lesions() -> None:
    result = TopHat().detect(FundusImage.from_array(draw_background(500)))
    assert len(result.instances) == 0


def test_a_healthy_eye_has_few_detections() -> None:
    result = TopHat().detect(read_image(normal_image_path()))
    assert result.instances["lesion"].value_counts().max() <= 30


def test_finds_lesions_on_the_sample_image_and_none_in_its_optic_disc() -> None:
    masks = {
        code: read_pixels(sample_folder() / f"IDRiD_13_{code}.png")[0] > 0
        for code in ("MA", "HE", "EX", "OD")
    }
    result = TopHat().detect(read_image(sample_image_path()))
    table = assess(result, masks).metrics.set_index("lesion")
    assert table.loc["EX", "aupr"] > 0.5
    assert table.loc["MA", "found"] > 15
    assert table.loc["MA", "precision"] > 0.4
    inner = cv2.erode(masks["OD"].astype(np.uint8), np.ones((61, 61), np.uint8)) > 0
    assert inner.any()
    assert not any(p[inner].any() for p in result.probability.values())


def test_sixteen_bits_give_the_same_as_eight(retina) -> None:
    eight = TopHat().detect(FundusImage.from_array(retina.pixels), DRAWN)
    sixteen = TopHat().detect(FundusImage.from_array(retina.pixels.astype(np.uint16) * 257), DRAWN)
    for lesion in eight.lesions:
        np.testing.assert_array_equal(eight.probability[lesion], sixteen.probability[lesion])


def test_a_grey_image_works(retina) -> None:
    grey = FundusImage.from_array(retina.pixels[..., 1])
    result = TopHat().detect(grey, DRAWN)
    assert (result.labels["EX"][retina.masks["EX"]] > 0).mean() > 0.5


@pytest.mark.parametrize("shape", [(64, 64), (64, 300), (90, 70)])
def test_tiny_images_work(shape) -> None:
    small = cv2.resize(draw_background(200), shape[::-1], interpolation=cv2.INTER_AREA)
    result = TopHat().detect(FundusImage.from_array(small))
    assert result.probability["MA"].shape == shape


def test_a_disc_that_fills_the_frame_works() -> None:
    whole = draw_background(800)[200:600, 200:600]
    result = TopHat().detect(FundusImage.from_array(whole))
    assert result.probability["EX"].shape == (400, 400)
    assert len(result.instances) <= 3


def test_a_given_field_of_view_is_kept(retina) -> None:
    given = retina.disc.copy()
    given[:, :160] = False
    image = FundusImage.from_array(retina.pixels, field_of_view=given)
    result = TopHat().detect(image, DRAWN)
    assert not any(p[:, :160].any() for p in result.probability.values())


def test_black_has_no_field_of_view() -> None:
    with pytest.raises(NoFieldOfViewError):
        TopHat().detect(FundusImage.from_array(np.zeros((100, 100, 3), np.uint8)))


def test_progress_rises_to_one_in_many_steps(retina) -> None:
    seen: list[float] = []
    TopHat().detect(
        FundusImage.from_array(retina.pixels), monitor=Monitor(lambda p: seen.append(p.fraction))
    )
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert len(seen) > 30


@pytest.mark.parametrize("step", [1, 5, 20])
def test_cancelling_stops_at_the_next_step(retina, step) -> None:
    seen = []

    def watch(progress) -> None:
        seen.append(progress)
        if len(seen) == step:
            monitor.cancel()

    monitor = Monitor(watch)
    with pytest.raises(Cancelled):
        TopHat().detect(FundusImage.from_array(retina.pixels), monitor=monitor)
    assert len(seen) == step


def test_sizes_out_of_bounds_are_refused(retina) -> None:
    with pytest.raises(OptionsError, match="microaneurysm_size"):
        TopHat().detect(FundusImage.from_array(retina.pixels), {"microaneurysm_size": 1.0})


@pytest.mark.parametrize("end", ["least", "most"])
def test_the_bounds_of_all_sizes_work(retina, end) -> None:
    extreme: dict[str, float] = {}
    for name, field in TopHatOptions.model_fields.items():
        if not name.endswith(("_size", "_width")):
            continue
        extreme[name] = next(
            getattr(bound, key)
            for bound in field.metadata
            for key in (("ge",) if end == "least" else ("le",))
            if hasattr(bound, key)
        )
    result = TopHat().detect(FundusImage.from_array(retina.pixels), extreme)
    assert extreme.items() <= result.provenance.options.items()
    assert set(extreme) > {"exudate_size", "haemorrhage_width"}


def test_every_option_has_title_and_description() -> None:
    for name, field in TopHatOptions.model_fields.items():
        assert field.title, name
        assert field.description, name


@pytest.mark.parametrize("lesion", TopHat.lesions)
def test_scores_rise_strictly_between_zero_and_one(lesion) -> None:
    scores = contrast_score(np.linspace(0, 30, 3001, dtype=np.float32), lesion)
    assert scores[0] == 0
    assert scores[-1] == 1
    assert (np.diff(scores[(scores > 0) & (scores < 1)]) > 0).all()
