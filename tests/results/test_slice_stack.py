"""A stack of mostly empty slices gives and takes what a NumPy array does, in less memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from napari_fundus.results.slice_stack import SliceStack, layer_plane


@pytest.fixture
def pair():
    """A stack with two written slices, and a NumPy array of the same."""
    rng = np.random.default_rng(0)
    plain = np.zeros((3, 4, 5, 6), np.int32)
    stack = SliceStack((3, 4), (5, 6), np.int32)
    for index in ((0, 1), (2, 3)):
        plane = rng.integers(0, 9, (5, 6)).astype(np.int32)
        plain[index] = plane
        stack[index] = plane
    return stack, plain


@pytest.mark.parametrize(
    "key",
    [
        (0, 1),
        (2, -1, slice(1, 3)),
        (1, 1),
        2,
        ...,
        (..., 3),
        (slice(None), 3, slice(None), slice(2, 5)),
        (slice(0, 3, 2), slice(1, None)),
        (-1, 3, np.array([1, 2]), np.array([3, 4])),
        (np.array([0, 2, 1]), np.array([1, 3, 0]), np.array([4, 2, 2]), np.array([0, 5, 1])),
        (np.array([[0], [2]]), 1, 2, np.array([1, 3])),
    ],
)
def test_what_is_read_and_written_is_as_in_numpy(pair, key):
    stack, plain = pair
    np.testing.assert_array_equal(stack[key], plain[key])
    stack[key] = 7
    plain[key] = 7
    np.testing.assert_array_equal(np.asarray(stack), plain)
    values = np.arange(plain[key].size).reshape(plain[key].shape)
    stack[key] = values
    plain[key] = values
    np.testing.assert_array_equal(np.asarray(stack), plain)
    assert stack.max() == plain.max()


def test_places_outside_are_refused(pair):
    stack, _ = pair
    for index in ((3, 0), (0, -5)):
        with pytest.raises(IndexError):
            stack[index]
    with pytest.raises(ValueError, match="shape"):
        stack.set_plane((0, 0), np.zeros((6, 5), np.int32))


def test_a_hundred_photographs_of_twelve_megapixels_take_the_memory_of_those_written():
    tracemalloc.start()
    stack = SliceStack((100,), (3000, 4000), np.int32)
    stack[7, 100:110, 100:110] = 3
    assert not stack[8].any()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150e6
    assert stack.nbytes == 48e6


def test_a_view_of_a_slice_is_that_slice():
    stack = SliceStack((2,), (3, 3), np.int32)
    view = stack.view((1,))
    view.data[0, 0] = 5
    assert stack[1, 0, 0] == 5
    view.data = np.ones((3, 3), np.int32)
    assert stack[1].sum() == 9
    assert stack.view((1,)) is view


def test_a_slice_of_a_layer_s_data_is_had_from_any_kind_of_array():
    class Holder:
        def __init__(self, data):
            self.data = data

    plain = np.arange(24).reshape(2, 3, 4)
    assert layer_plane(Holder(plain), (1,)).tolist() == plain[1].tolist()
    assert layer_plane(Holder([plain[0]]), ()).tolist() == plain[0].tolist()
