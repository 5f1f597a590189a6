"""Kept maps: taken where everything agrees, never where anything that matters differs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_fundus.evaluation import MapCache


@pytest.fixture
def image(dataset):
    return dataset[0].image()


def cache_of(detector, folder, **options) -> MapCache:
    return MapCache(detector, detector.Options(**options), "cpu", folder)


def test_the_second_result_is_the_first(contrast, image, tmp_path) -> None:
    first, was_kept = cache_of(contrast, tmp_path).get(image)
    second, is_kept = cache_of(contrast, tmp_path).get(image)
    assert (was_kept, is_kept) == (False, True)
    for code in ("MA", "EX"):
        np.testing.assert_array_equal(first.probability[code], second.probability[code])
    np.testing.assert_array_equal(first.field_of_view, second.field_of_view)
    assert first.thresholds == second.thresholds
    assert first.provenance == second.provenance


def test_threshold_and_area_are_applied_to_what_is_kept(contrast, image, tmp_path) -> None:
    cache_of(contrast, tmp_path).get(image)
    other, kept = cache_of(contrast, tmp_path, threshold=0.25, min_area=4).get(image)
    direct = cache_of(contrast, None, threshold=0.25, min_area=4).get(image)[0]
    assert kept
    assert other.thresholds == direct.thresholds
    assert len(other.instances) == len(direct.instances) > 0
    assert other.provenance.options == direct.provenance.options


def test_thresholds_that_the_detector_sets_itself_stay(contrast, image, tmp_path) -> None:
    predict = contrast.predict
    contrast.predict = lambda *a, **k: replace(predict(*a, **k), thresholds={"MA": 0.3})
    cache_of(contrast, tmp_path).get(image)
    other, kept = cache_of(contrast, tmp_path, threshold=0.25).get(image)
    assert kept
    assert other.thresholds == {"MA": 0.3, "EX": 0.25}


def test_other_options_weights_versions_pixels_and_discs_run_anew(
    contrast, image, dataset, tmp_path
) -> None:
    base = cache_of(contrast, tmp_path)
    base.get(image)
    assert not cache_of(contrast, tmp_path, size=3.0).get(image)[1]
    assert not replace(base, weights="0" * 64).get(image)[1]
    assert not base.get(dataset[1].image())[1]
    disc = np.ones(image.shape, bool)
    disc[:30] = False
    assert not base.get(replace(image, given_field_of_view=disc))[1]
    contrast.version = "2"
    assert not base.get(image)[1]
    assert base.get(image)[1]


def test_a_damaged_file_is_replaced(contrast, image, tmp_path) -> None:
    cache_of(contrast, tmp_path).get(image)
    (path,) = tmp_path.rglob("*.tif")
    path.write_bytes(path.read_bytes()[:200])
    assert not cache_of(contrast, tmp_path).get(image)[1]
    assert cache_of(contrast, tmp_path).get(image)[1]


def test_a_file_under_the_name_of_another_is_not_taken(contrast, image, dataset, tmp_path) -> None:
    cache = cache_of(contrast, tmp_path)
    cache.get(image)
    (path,) = tmp_path.rglob("*.tif")
    other = dataset[1].image()
    cache.get(other)
    (wrong,) = set(tmp_path.rglob("*.tif")) - {path}
    wrong.write_bytes(path.read_bytes())
    assert not cache.get(other)[1]


def test_nothing_half_written_is_left(contrast, image, tmp_path, monkeypatch) -> None:
    import tifffile

    def break_off(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(tifffile.TiffWriter, "write", break_off)
    with pytest.raises(OSError, match="No space"):
        cache_of(contrast, tmp_path / "maps").get(image)
    assert not [p for p in (tmp_path / "maps").rglob("*") if p.is_file()]


def test_rounding_leaves_labels_as_they_are(contrast, image) -> None:
    rounded = cache_of(contrast, None).get(image)[0]
    whole = contrast.detect(image)
    for code in ("MA", "EX"):
        np.testing.assert_array_equal(rounded.labels[code], whole.labels[code])
        assert np.abs(rounded.probability[code] - whole.probability[code]).max() < 1.01 / 64_000
