"""A small result under review: labels, tables and a second detector's opinion."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from napari_fundus.results.instances import label_map
from napari_fundus.review.loading import ClassLabels, load_lesions
from napari_fundus.review.session import Review

SHAPE = (48, 64)
CODES = ("MA", "HE", "EX", "SE")
THRESHOLD = 0.5


def probability(seed: int, count: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = np.zeros(SHAPE, np.float32)
    for row, col in zip(rng.integers(2, 40, count), rng.integers(2, 56, count), strict=True):
        values[row : row + 4, col : col + 5] = rng.uniform(0.5, 1)
    return values


def make_parts(seed: int = 0, codes: tuple[str, ...] = CODES) -> dict[str, ClassLabels]:
    parts, first = {}, 1
    for number, code in enumerate(codes):
        labels, table = label_map(
            probability(10 * seed + number), lesion=code, threshold=THRESHOLD, first_id=first
        )
        first += len(table)
        features = table.rename(columns={"id": "index"})
        features = features.drop(columns=[c for c in features if str(c).startswith("bbox")])
        parts[code] = ClassLabels(labels.astype(np.uint16), features, THRESHOLD)
    return parts


def start(parts: dict[str, ClassLabels], other: dict[str, ClassLabels] | None = None) -> Review:
    loaded = load_lesions(parts, other, name="other")
    return Review(loaded.labels, loaded.tables, loaded.lesions)


def snapshot(review: Review) -> tuple:
    """Copy everything that undo must bring back."""
    return (
        {code: array.copy() for code, array in review.labels.items()},
        {code: table.copy() for code, table in review.tables.items()},
        dict(review.lesions),
    )


def assert_same(review: Review, before: tuple) -> None:
    labels, tables, lesions = before
    for code, array in labels.items():
        np.testing.assert_array_equal(review.labels[code], array)
        pd.testing.assert_frame_equal(review.tables[code], tables[code])
    assert review.lesions == lesions


def assert_consistent(review: Review) -> None:
    """Labels, tables and lesions tell the same."""
    for code, array in review.labels.items():
        present = {x.id for x in review.lesions.values() if x.lesion == code and x.present}
        assert set(np.unique(array[array > 0]).tolist()) == present
        assert set(review.tables[code]["index"]) == present
        assert review.tables[code]["index"].is_unique
    for lesion in review.lesions.values():
        if lesion.present:
            rows, cols = np.nonzero(review.labels[lesion.lesion] == lesion.id)
            top, left, bottom, right = lesion.box
            assert (rows.min() >= top, rows.max() < bottom) == (True, True)
            assert (cols.min() >= left, cols.max() < right) == (True, True)
            assert lesion.area == len(rows)


@pytest.fixture(scope="session")
def lab() -> SimpleNamespace:
    """What the tests of a review build and compare with."""
    return SimpleNamespace(
        shape=SHAPE,
        parts=make_parts,
        start=start,
        snapshot=snapshot,
        assert_same=assert_same,
        assert_consistent=assert_consistent,
    )


@pytest.fixture
def parts() -> dict[str, ClassLabels]:
    return make_parts()


@pytest.fixture
def review(parts) -> Review:
    return start(parts)
