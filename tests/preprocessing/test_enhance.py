"""Enhancement agrees with the plain formula everywhere, rims and worst cases included."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_fundus.errors import OptionsError
from napari_fundus.image import read_image
from napari_fundus.preprocessing import FovCircle, enhance, enhance_exact, find_field_of_view
from napari_fundus.preprocessing.local_mean import LocalMean, local_mean_exact
from napari_fundus.samples import normal_image_path

SHAPE = (300, 380)
DISC = FovCircle(150, 190, 140).mask(SHAPE)
PRESETS = {
    "voting": {"alpha": 4, "beta": -10, "gamma": 128, "sigma": 10},
    "voting, soft": {"alpha": 4, "beta": -4, "gamma": 128, "sigma": 10},
    "multiscale": {"alpha": 4, "beta": -4, "gamma": 128, "sigma": 1024 / 30},
    "mask_rcnn": {"alpha": 4, "beta": -4, "gamma": 128, "sigma": 20},
    "local_mean": {"alpha": 4, "beta": -4, "gamma": 128, "sigma": 30},
    "small sigma": {"alpha": 4, "beta": -4, "gamma": 128, "sigma": 3},
    "least sigma of the grid": {"alpha": 4, "beta": -10, "gamma": 128, "sigma": 6},
}


def _white_square() -> npt.NDArray[np.uint8]:
    square = np.zeros(SHAPE, np.uint8)
    square[83:214, 101:240] = 255
    return square


def _blobs() -> npt.NDArray[np.uint8]:
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return ((np.sin(rows / 9) * np.sin(cols / 13) > 0) * np.uint8(255)).astype(np.uint8)


def _white() -> npt.NDArray[np.uint8]:
    return np.full(SHAPE, 255, np.uint8)


def _difference(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> int:
    return int(np.abs(a.astype(np.int64) - b.astype(np.int64)).max())


@pytest.mark.parametrize("weights", PRESETS.values(), ids=PRESETS.keys())
@pytest.mark.parametrize("draw", [_white_square, _blobs, _white])
@pytest.mark.parametrize("whole", [True, False], ids=["whole frame", "disc"])
def test_worst_cases_are_within_one_grey_level(
    weights: dict[str, float], draw: Any, whole: bool
) -> None:
    fov = np.ones(SHAPE, np.bool_) if whole else DISC
    fast = enhance(draw(), field_of_view=fov, **weights)
    assert _difference(fast, enhance_exact(draw(), field_of_view=fov, **weights)) <= 1


@pytest.mark.parametrize("weights", PRESETS.values(), ids=PRESETS.keys())
def test_a_photograph_is_within_one_grey_level(weights: dict[str, float]) -> None:
    image = read_image(normal_image_path())
    fov, pixels = find_field_of_view(image)[:700], image.rgb8[:700]
    fast = enhance(pixels, field_of_view=fov, **weights)
    assert fast.shape == pixels.shape
    assert _difference(fast, enhance_exact(pixels, field_of_view=fov, **weights)) <= 1


def _mean_error(pixels: Any, fov: Any, sigma: float) -> float:
    """Return the largest error of the quick local mean in the field of view, in grey levels."""
    fast = np.empty(pixels.shape, np.float32)
    mean = LocalMean(pixels, field_of_view=fov, sigma=sigma)
    mean.for_each_band(lambda rows, band: fast.__setitem__(rows, band))
    exact = local_mean_exact(pixels, field_of_view=fov, sigma=sigma)
    return float(np.abs(fast - exact)[fov].max())


@pytest.mark.parametrize("sigma", [8, 20, 30])
def test_the_mean_of_a_photograph_is_right_to_a_hundredth_of_a_grey_level(sigma: float) -> None:
    image = read_image(normal_image_path())
    fov, green = find_field_of_view(image)[:700], image.rgb8[:700, :, 1]
    assert _mean_error(np.ascontiguousarray(green), fov, sigma) < 0.01


@pytest.mark.parametrize("sigma", [6, 12, 30])
def test_the_mean_of_black_and_white_noise_is_right_to_a_quarter_of_a_grey_level(
    sigma: float,
) -> None:
    noise = np.random.default_rng(0).integers(0, 2, SHAPE).astype(np.uint8) * np.uint8(255)
    assert _mean_error(noise, DISC, sigma) < 0.25


@pytest.mark.parametrize("sigma", [6, 10, 19.9, 20, 32, 70, 400])
def test_the_mean_of_a_full_step_is_right_to_a_sixth_of_a_grey_level(sigma: float) -> None:
    assert _mean_error(_white_square(), DISC, sigma) < 0.15


def test_the_exact_mean_is_the_formula_by_hand() -> None:
    """Two pixels a distance d apart weigh 1 and exp(-d²/2σ²)."""
    pixels = np.zeros((64, 64), np.uint8)
    fov = np.zeros((64, 64), np.bool_)
    pixels[30, 30], pixels[30, 33] = 100, 40
    fov[30, 30] = fov[30, 33] = True
    near = np.exp(-(3**2) / (2 * 2.5**2))
    mean = local_mean_exact(pixels, field_of_view=fov, sigma=2.5)
    assert mean[30, 30] == pytest.approx((100 + near * 40) / (1 + near), rel=1e-6)


@pytest.mark.parametrize("sigma", [4, 12, 40])
def test_no_bright_rim_at_the_edge_of_an_even_disc(sigma: float) -> None:
    pixels = np.where(DISC, np.uint8(140), np.uint8(3))
    result = enhance(pixels, field_of_view=DISC, alpha=4, beta=-4, gamma=128, sigma=sigma)
    assert set(np.unique(result[DISC])) <= {127, 128, 129}


def test_burnt_in_text_outside_the_disc_is_removed_and_has_no_influence() -> None:
    clean = np.where(DISC, _blobs() // 2, np.uint8(0))
    text = clean.copy()
    text[:20, :60] = 255
    options = {"alpha": 4, "beta": -4, "gamma": 128, "sigma": 15}
    with_text = enhance(text, field_of_view=DISC, **options)
    assert with_text[~DISC].max() == 0
    np.testing.assert_array_equal(with_text, enhance(clean, field_of_view=DISC, **options))


def test_planes_are_independent() -> None:
    planes = np.stack([_white_square(), _blobs(), _white()], axis=-1)
    options = {"alpha": 4, "beta": -4, "gamma": 128, "sigma": 21}
    together = enhance(planes, field_of_view=DISC, **options)
    for index in range(3):
        alone = enhance(planes[..., index], field_of_view=DISC, **options)
        assert _difference(together[..., index], alone) <= 1


def test_sixteen_bits_give_what_eight_bits_give() -> None:
    """uint16 holds 257 times the level, and so does the result: gamma scales with the range."""
    options = {"alpha": 1.5, "beta": -1, "gamma": 60, "sigma": 12}
    eight = enhance(_blobs() // 2, field_of_view=DISC, **options)
    deep = (_blobs() // 2).astype(np.uint16) * 257
    sixteen = enhance(deep, field_of_view=DISC, **options)
    assert sixteen.dtype == np.uint16
    assert np.abs(sixteen / 257 - eight).max() <= 1
    exact = enhance_exact(deep, field_of_view=DISC, **options)
    assert _difference(sixteen, exact) <= 257


def test_results_are_clipped_and_not_wrapped() -> None:
    square = _white_square()
    result = enhance(square, field_of_view=DISC, alpha=20, beta=-20, gamma=128, sigma=10)
    assert result[84, 170] == 255
    assert result[82, 170] == 0


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    sigma=st.floats(6, 60),
    seed=st.integers(0, 1000),
)
def test_any_size_works(height: int, width: int, sigma: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = np.repeat(np.repeat(rng.integers(0, 256, (6, 6)), 15, 0), 15, 1)[:height, :width]
    fov = rng.random((height, width)) > 0.2
    options = {"alpha": 4, "beta": -4, "gamma": 128, "sigma": sigma}
    fast = enhance(pixels.astype(np.uint8), field_of_view=fov, **options)
    exact = enhance_exact(pixels.astype(np.uint8), field_of_view=fov, **options)
    assert _difference(fast, exact) <= 1


def test_an_empty_field_of_view_gives_black() -> None:
    result = enhance(
        _white(), field_of_view=~np.ones(SHAPE, np.bool_), alpha=4, beta=-4, gamma=128, sigma=10
    )
    assert result.max() == 0


@pytest.mark.parametrize("function", [enhance, enhance_exact])
@pytest.mark.parametrize(
    ("pixels", "fov", "sigma", "word"),
    [
        (np.zeros(SHAPE, np.float32), DISC, 5.0, "float32"),
        (np.zeros((3, *SHAPE, 3), np.uint8), DISC, 5.0, "shape"),
        (np.zeros((50, 50), np.uint8), DISC, 5.0, "field of view"),
        (np.zeros(SHAPE, np.uint8), DISC, 0.0, "sigma"),
        (np.zeros(SHAPE, np.uint8), DISC, float("nan"), "sigma"),
    ],
)
def test_wrong_input_is_refused(
    function: Any, pixels: Any, fov: Any, sigma: float, word: str
) -> None:
    with pytest.raises(OptionsError, match=word):
        function(pixels, field_of_view=fov, alpha=4, beta=-4, gamma=128, sigma=sigma)
