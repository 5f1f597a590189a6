"""Outlines of small lesions, edge by edge."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fundus.results.outlines import outline_vectors

DOWN, RIGHT = (1, 0), (0, 1)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (  # one pixel, away from the border
            [[0, 0, 0, 0], [0, 0, 7, 0], [0, 0, 0, 0]],
            {((0.5, 1.5), RIGHT), ((1.5, 1.5), RIGHT), ((0.5, 1.5), DOWN), ((0.5, 2.5), DOWN)},
        ),
        (  # one pixel that is the whole image
            [[1]],
            {
                ((-0.5, -0.5), RIGHT), ((0.5, -0.5), RIGHT),
                ((-0.5, -0.5), DOWN), ((-0.5, 0.5), DOWN),
            },
        ),
        (  # a pixel at the end of a row and one at the start of the next do not meet
            [[0, 1], [1, 0]],
            {
                ((-0.5, 0.5), RIGHT), ((0.5, 0.5), RIGHT), ((-0.5, 0.5), DOWN), ((-0.5, 1.5), DOWN),
                ((0.5, -0.5), RIGHT), ((1.5, -0.5), RIGHT), ((0.5, -0.5), DOWN), ((0.5, 0.5), DOWN),
            },
        ),
        (  # straight runs are one piece, and two lesions side by side have an edge each
            [[1, 1, 2]],
            {
                ((-0.5, -0.5), (0, 2)), ((0.5, -0.5), (0, 2)),
                ((-0.5, 1.5), RIGHT), ((0.5, 1.5), RIGHT),
                ((-0.5, -0.5), DOWN), ((-0.5, 1.5), DOWN), ((-0.5, 2.5), DOWN),
            },
        ),
        (  # a gap of one pixel parts a run, though both sides are of one lesion
            [[1, 0, 1]],
            {
                ((-0.5, -0.5), RIGHT), ((0.5, -0.5), RIGHT),
                ((-0.5, -0.5), DOWN), ((-0.5, 0.5), DOWN),
                ((-0.5, 1.5), RIGHT), ((0.5, 1.5), RIGHT), ((-0.5, 1.5), DOWN), ((-0.5, 2.5), DOWN),
            },
        ),
        ([[0, 0]], set()),
    ],
)  # fmt: skip
def test_edges_lie_half_a_pixel_around_each_lesion(labels, expected) -> None:
    image = np.array(labels)
    pixels = np.arange(image.size)
    vectors = outline_vectors(pixels, image.ravel(), image.shape)
    assert vectors.shape[1:] == (2, 2)
    assert {(tuple(start), tuple(along)) for start, along in vectors.tolist()} == expected
