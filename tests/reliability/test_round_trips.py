"""Whatever recipe is drawn can be saved and undone; whatever is found can be exported and read."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import annotated_types
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_fundus.detector import Detector, Prediction
from napari_fundus.export import (
    export,
    read_csv,
    read_labels_tiff,
    read_probability_tiff,
    read_provenance,
    to_coco,
    to_geojson,
)
from napari_fundus.image import FundusImage
from napari_fundus.preprocessing import FovCircle, Recipe
from napari_fundus.results.detections import Detections

SHAPE = (120, 160)
SLOW = settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink takes minutes
)


def values_of(name: str) -> st.SearchStrategy[Any]:
    """Return what a field of a recipe may hold, by its own bounds; sizes up to what is quick."""
    field = Recipe.model_fields[name]
    kind = field.annotation
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if kind is bool:
        return st.booleans()
    low = next(m.ge for m in field.metadata if isinstance(m, annotated_types.Ge))
    high = next(m.le for m in field.metadata if isinstance(m, annotated_types.Le))
    if name in ("side", "disc_diameter"):
        high = 200
    if kind is int:
        return st.integers(low, high)
    return st.floats(low, high)


recipes = st.fixed_dictionaries({name: values_of(name) for name in Recipe.model_fields}).map(
    lambda fields: Recipe(**fields)
)


@pytest.fixture(scope="module")
def eye() -> FundusImage:
    """A disc that the frame cuts at top and bottom."""
    pixels = np.random.default_rng(0).integers(60, 180, (*SHAPE, 3)).astype(np.uint8)
    pixels[~FovCircle(59.5, 79.5, 70).mask(SHAPE)] = 0
    return FundusImage.from_array(pixels, name="eye")


@given(recipe=recipes)
@settings(max_examples=200, deadline=None)
def test_any_recipe_survives_json_to_the_bit(recipe: Recipe) -> None:
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@given(
    recipe=recipes, points=arrays(np.float64, (5, 2), elements=st.floats(0, 150, allow_nan=False))
)
@SLOW
def test_any_recipe_can_be_undone_to_a_millionth_of_a_pixel(
    eye: FundusImage, recipe: Recipe, points: npt.NDArray[np.float64]
) -> None:
    prepared = recipe.apply(eye)
    there = prepared.geometry.forward_points(points)
    np.testing.assert_allclose(prepared.geometry.inverse_points(there), points, atol=1e-6)
    assert prepared.field_of_view.shape == prepared.pixels.shape[:2]
    assert np.isfinite(prepared.pixels).all()
    assert not prepared.pixels[~prepared.field_of_view].any()
    back = prepared.to_original(prepared.field_of_view)
    assert back.shape == SHAPE
    # Further in than the largest pixel (5 px), whatever was cropped, padded and resized.
    assert (back[FovCircle(59.5, 79.5, 52).mask(SHAPE)] > 0.99).all()


class Given(Detector):
    """Finds the maps that it was given."""

    name = "given"
    title = "Given"
    summary = "Given maps"
    lesions = ("MA", "EX")

    def __init__(self, maps: npt.NDArray[np.float32]) -> None:
        self.maps = maps

    def predict(self, image, options, *, device, monitor) -> Prediction:
        return Prediction(dict(zip(self.lesions, self.maps, strict=True)))


@st.composite
def results(draw: st.DrawFn) -> Detections:
    """Return maps of any values in [0, 1] on pictures of any size, also without a lesion."""
    height, width = draw(st.integers(64, 90)), draw(st.integers(64, 90))
    seed, share = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0.0, 0.02, 0.4, 1.0]))
    rng = np.random.default_rng(seed)
    maps = rng.random((2, height, width), np.float32)
    maps[rng.random(maps.shape) >= share] = draw(st.sampled_from([0.0, 0.25]))
    image = FundusImage.from_array(rng.integers(0, 255, (height, width, 3)).astype(np.uint8))
    options = {"threshold": draw(st.sampled_from([0.3, 0.5])), "min_area": draw(st.integers(1, 4))}
    return Given(maps).detect(image, options)


@given(found=results())
@SLOW
def test_any_result_comes_back_from_its_files(found: Detections) -> None:
    with tempfile.TemporaryDirectory() as name:
        files = export(found, Path(name), "eye", formats=("csv", "labels", "probability"))
        pd.testing.assert_frame_equal(read_csv(files["csv"]), found.instances)
        planes, told = read_labels_tiff(files["labels"])
        again = read_probability_tiff(files["probability"])
        assert told == read_provenance(files["provenance"]) == found.provenance
    for code in found.probability:
        np.testing.assert_array_equal(planes[code], found.labels[code])
        # Eight bits a pixel, or exactly: never further off than half a step.
        np.testing.assert_allclose(
            again.probability[code], found.probability[code], atol=0.5 / 255 + 1e-6
        )


@given(found=results())
@SLOW
def test_coco_and_geojson_tell_each_lesion_once_with_its_area(found: Detections) -> None:
    areas = sorted(found.instances["area_px"])
    assert sorted(each["area"] for each in to_coco([found])["annotations"]) == areas
    assert len(to_geojson(found)["features"]) == len(areas)
