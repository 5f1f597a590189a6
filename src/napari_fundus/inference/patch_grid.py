"""Where the overlapping patches of a picture lie, and which of them run together in a batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class PatchGrid:
    """All positions, `stride` apart, at which a square patch touches a picture.

    Patches reach over the picture's border, so that a pixel at the border lies under as many as one
    in the middle does. Coordinates are those of the picture padded by `padding` at the top and left
    and up to `padded_shape`: there, patch (k, l) starts at row ``k·stride``, column ``l·stride``.

    Parameters
    ----------
    shape
        Height and width of the picture, px.
    patch
        Side of the patches, px.
    stride
        Distance of neighbouring positions, px, 1 to `patch`.
    """

    shape: tuple[int, int]
    patch: int
    stride: int

    def __post_init__(self) -> None:
        if not 1 <= self.stride <= self.patch:
            raise ValueError(
                f"A stride of {self.stride} px leaves gaps between patches of {self.patch} px: "
                f"choose 1 to {self.patch}."
            )

    @property
    def padding(self) -> int:
        """Rows that the first patch reaches over the upper border; the same on the left."""
        return (self.patch - 1) // self.stride * self.stride

    @property
    def grid_shape(self) -> tuple[int, int]:
        """Number of positions along height and width."""
        rows, columns = (-(-(self.padding + side) // self.stride) for side in self.shape)
        return rows, columns

    @property
    def padded_shape(self) -> tuple[int, int]:
        """Height and width of the padded picture."""
        rows, columns = ((n - 1) * self.stride + self.patch for n in self.grid_shape)
        return rows, columns

    @property
    def period(self) -> int:
        """Positions after which patches along a side no longer overlap."""
        return -(-self.patch // self.stride)

    def coverage(self) -> npt.NDArray[np.float32]:
        """Return how many patches cover each pixel of the picture: float32, shape (H, W).

        ``(patch / stride)²`` everywhere if the stride divides the patch.
        """
        per_side = []
        for side in self.shape:
            place = (np.arange(side) + self.padding) % self.stride
            # Positions at place, place + stride, … below the patch's side.
            per_side.append((self.patch - 1 - place) // self.stride + 1)
        return np.outer(*per_side).astype(np.float32)

    def overlapping(self, inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Return which patches hold a pixel of `inside`: bool, shape `grid_shape`.

        Parameters
        ----------
        inside
            bool, shape (H, W): the field of view.
        """

        def any_under(mask: npt.NDArray[np.bool_], count: int) -> npt.NDArray[np.bool_]:
            """Along the first axis: whether a pixel under each position is set."""
            total = np.zeros((len(mask) + 1, *mask.shape[1:]), np.int32)
            np.cumsum(mask, axis=0, out=total[1:])
            start = np.arange(count) * self.stride - self.padding
            low, high = np.clip(start, 0, len(mask)), np.clip(start + self.patch, 0, len(mask))
            found: npt.NDArray[np.bool_] = total[high] > total[low]
            return found

        rows = any_under(inside, self.grid_shape[0])
        return any_under(rows.T, self.grid_shape[1]).T

    def disjoint_groups(self, chosen: npt.NDArray[np.bool_]) -> Iterator[tuple[Index, Index]]:
        """Yield the `chosen` patches in groups within which no two overlap.

        Summing the results of such a group into a map needs no scatter with duplicate targets:
        each patch writes pixels of its own, so the sum is one strided addition and the order of
        additions, hence the result, is the same in every run.

        Yields
        ------
        rows, columns
            Positions of the patches of one group.
        """
        for row in range(self.period):
            for column in range(self.period):
                rows, columns = np.nonzero(chosen[row :: self.period, column :: self.period])
                if len(rows):
                    yield rows * self.period + row, columns * self.period + column
