"""Run lengths are those of pycocotools, and damaged ones are refused."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as reference

from napari_fundus.results.rle import decode_rle, decompress_rle_counts, encode_rle

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40))
margins = st.tuples(*[st.integers(0, 50)] * 4)


@given(masks, margins)
def test_runs_are_those_of_pycocotools(
    mask: npt.NDArray[np.bool_], around: tuple[int, int, int, int]
) -> None:
    top, bottom, left, right = around
    whole = np.pad(mask, ((top, bottom), (left, right)))
    expected = reference.encode(np.asfortranarray(whole.astype(np.uint8)))["counts"].decode()
    assert encode_rle(mask, (top, left), whole.shape) == expected


@given(masks, margins)
def test_decoding_undoes_encoding_and_gives_the_tight_box(
    mask: npt.NDArray[np.bool_], around: tuple[int, int, int, int]
) -> None:
    top, bottom, left, right = around
    whole = np.pad(mask, ((top, bottom), (left, right)))
    text = encode_rle(mask, (top, left), whole.shape)
    for runs in (text, decompress_rle_counts(text)):
        found = decode_rle(runs, whole.shape)
        if found is None:
            assert not whole.any()
            continue
        row, col, window = found
        rebuilt = np.zeros_like(whole)
        rebuilt[row : row + window.shape[0], col : col + window.shape[1]] = window
        np.testing.assert_array_equal(rebuilt, whole)
        edges = (window[0], window[-1], window[:, 0], window[:, -1])
        assert all(edge.any() for edge in edges)


def test_empty_runs_and_runs_that_meet_are_understood() -> None:
    assert decode_rle([], (4, 4)) is None
    assert decode_rle([16], (4, 4)) is None
    assert decode_rle([3, 0, 13], (4, 4)) is None
    row, col, mask = decode_rle([1, 1, 0, 2, 12], (4, 4))
    assert (row, col, mask.tolist()) == (1, 0, [[True], [True], [True]])


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([3, -1], "negative"),
        ([10, 10**30], "larger than the picture"),
        ([10, 10], "larger picture"),
        ("P", "ends within"),
        ("o" * 30, "larger than any"),
        ("é", "does not occur"),
        ("\0", "does not occur"),
    ],
)
def test_damaged_runs_are_refused(runs: str | list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_rle(runs, (4, 4))
