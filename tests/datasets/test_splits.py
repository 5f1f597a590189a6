"""Divisions that never separate the images of one eye."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_fundus.datasets import Sample, split_by_group
from napari_fundus.errors import OptionsError

groups = st.lists(st.one_of(st.none(), st.sampled_from("abcdefgh")), max_size=60)
shares = st.lists(st.integers(1, 9), min_size=1, max_size=5).map(lambda w: [x / sum(w) for x in w])


def make(names: list[str | None]) -> list[Sample]:
    return [Sample(str(n), Path(f"{n}.png"), group=g) for n, g in enumerate(names)]


@given(names=groups, parts=st.one_of(shares, st.integers(1, 6)), seed=st.integers(0, 1000))
def test_groups_are_never_separated_and_no_sample_is_lost(
    names: list[str | None], parts: list[float] | int, seed: int
) -> None:
    samples = make(names)

    divided = split_by_group(samples, parts, seed=seed)

    assert sorted(s.id for part in divided for s in part) == sorted(s.id for s in samples)
    for name in set(names) - {None}:
        assert sum(any(s.group == name for s in part) for part in divided) == 1


@given(names=groups, seed=st.integers(0, 1000), order=st.randoms())
def test_same_seed_gives_the_same_division_whatever_the_order(
    names: list[str | None], seed: int, order: object
) -> None:
    samples = make(names)
    shuffled = list(samples)
    order.shuffle(shuffled)  # type: ignore[attr-defined]

    first = split_by_group(samples, [0.7, 0.3], seed=seed)
    second = split_by_group(shuffled, [0.7, 0.3], seed=seed)

    assert [{s.id for s in part} for part in first] == [{s.id for s in part} for part in second]


@given(count=st.integers(1, 200), folds=st.integers(1, 7), seed=st.integers(0, 100))
def test_samples_alone_are_divided_evenly(count: int, folds: int, seed: int) -> None:
    sizes = [len(part) for part in split_by_group(make([None] * count), folds, seed=seed)]

    assert max(sizes) - min(sizes) <= 1


def test_seeds_give_different_divisions() -> None:
    samples = make([None] * 40)

    first, second = (split_by_group(samples, 2, seed=seed)[0] for seed in (0, 1))

    assert {s.id for s in first} != {s.id for s in second}


@pytest.mark.parametrize("parts", [0, -1, [], [0.5, 0.6], [0.5], [1.5, -0.5]])
def test_parts_that_make_no_sense_are_refused(parts: int | list[float]) -> None:
    with pytest.raises(OptionsError):
        split_by_group(make([None] * 4), parts)
