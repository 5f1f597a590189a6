"""Folds: every image tested once, no eye on both sides, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_fundus.datasets.base import Sample
from napari_fundus.errors import TrainingError
from napari_fundus.training.patches.folds import iterate_folds, split_holdout

EYES = [Sample(f"s{n}", Path(f"{n}.png"), group=f"eye{n // 3}") for n in range(30)]


def ids(samples: list[Sample]) -> set[str]:
    return {sample.id for sample in samples}


@pytest.mark.parametrize("count", [2, 3, 5])
def test_every_image_is_tested_once_and_no_eye_is_on_both_sides(count: int) -> None:
    tested: list[str] = []
    for train, test in iterate_folds(EYES, count):
        assert ids(train) | ids(test) == ids(EYES)
        assert not {s.group for s in train} & {s.group for s in test}
        tested += [s.id for s in test]
    assert sorted(tested) == sorted(ids(EYES))


def test_the_seed_decides() -> None:
    first, again, other = (next(iterate_folds(EYES, 2, seed=seed))[1] for seed in (0, 0, 1))
    assert ids(first) == ids(again) != ids(other)


def test_a_share_is_held_back_without_parting_an_eye() -> None:
    train, validation = split_holdout(EYES, 0.2)
    assert (len(train), len(validation)) == (24, 6)
    assert not {s.group for s in train} & {s.group for s in validation}


def test_too_few_eyes_and_too_few_folds_are_refused() -> None:
    with pytest.raises(TrainingError, match="do not fill 3 folds"):
        list(iterate_folds(EYES[:6], 3))
    with pytest.raises(TrainingError, match="2 or more"):
        list(iterate_folds(EYES, 1))
    with pytest.raises(TrainingError, match="held back"):
        split_holdout(EYES[:3], 0.2)
