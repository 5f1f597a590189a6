"""An array of many slices of which few hold anything: the labels or maps of a stack."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

SliceIndex = tuple[int, ...]
"""Position in the leading axes of a stack."""


class SlicePlane:
    """One slice of a stack, as something that has `data`: an array of shape (H, W)."""

    def __init__(self, stack: SliceStack, index: SliceIndex) -> None:
        self._stack, self._index = stack, index

    @property
    def data(self) -> npt.NDArray[Any]:
        """The slice itself, not a copy."""
        return self._stack.plane(self._index)

    @data.setter
    def data(self, values: npt.NDArray[Any]) -> None:
        self._stack.set_plane(self._index, values)


class SliceStack:
    """An array of shape (..., H, W); only slices into which something was written take memory.

    It is read and written like a NumPy array, which is what napari asks of a layer's data.

    Parameters
    ----------
    leading
        Lengths of the axes before the last two.
    shape
        Height and width.
    dtype
        Of the elements.

    Examples
    --------
    >>> labels = SliceStack((100,), (3000, 4000), np.int32)
    >>> labels[7, 10:20, 10:20] = 1
    >>> labels.shape, int(labels[7].sum()), bool(labels[8].any()), labels.nbytes
    ((100, 3000, 4000), 100, False, 48000000)
    """

    def __init__(self, leading: Sequence[int], shape: tuple[int, int], dtype: Any) -> None:
        self.shape = (*map(int, leading), *shape)
        self.dtype = np.dtype(dtype)
        self._planes: dict[SliceIndex, npt.NDArray[Any]] = {}
        self._views: dict[SliceIndex, SlicePlane] = {}

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements, written or not."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes of the slices that hold something."""
        return sum(plane.nbytes for plane in self._planes.values())

    def __len__(self) -> int:
        return self.shape[0]

    def plane(self, index: SliceIndex) -> npt.NDArray[Any]:
        """Return a slice itself, to be read and written in place."""
        index = self._checked(index)
        if index not in self._planes:
            self._planes[index] = np.zeros(self.shape[-2:], self.dtype)
        return self._planes[index]

    def set_plane(self, index: SliceIndex, values: npt.NDArray[Any]) -> None:
        """Let a slice be an array, which is not copied where its type is the stack's."""
        if values.shape != self.shape[-2:]:
            raise ValueError(f"A slice has shape {self.shape[-2:]}, not {values.shape}.")
        self._planes[self._checked(index)] = np.asarray(values, self.dtype)

    def view(self, index: SliceIndex) -> SlicePlane:
        """Return a slice as something that has `data`, the same object each time."""
        return self._views.setdefault(self._checked(index), SlicePlane(self, index))

    def _checked(self, index: Sequence[Any]) -> SliceIndex:
        leading = self.shape[:-2]
        if len(index) != len(leading):
            raise IndexError(f"{len(leading)} indices are needed, not {len(index)}.")
        for place, length in zip(index, leading, strict=True):
            if not -length <= place < length:
                raise IndexError(f"{place} is out of bounds for an axis of {length}.")
        return tuple(int(i) % n for i, n in zip(index, leading, strict=True))

    def _full_key(self, key: Any) -> tuple[Any, ...]:
        parts = list(key) if isinstance(key, tuple) else [key]
        dots = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
        rest = parts[dots + 1 :]
        whole = [slice(None)] * (self.ndim - dots - len(rest))
        return (*parts[:dots], *whole, *rest)

    def __getitem__(self, key: Any) -> Any:
        key = self._full_key(key)
        lead, rest = key[: self.ndim - 2], key[self.ndim - 2 :]
        if all(isinstance(part, Integral) for part in lead):
            found = self._planes.get(self._checked(lead))
            return (np.zeros(self.shape[-2:], self.dtype) if found is None else found)[rest]
        if any(np.ndim(part) for part in key if not isinstance(part, slice)):
            places = self._broadcast(key)
            values = np.zeros(places[0].shape, self.dtype)
            for index, mine in self._by_slice(places):
                if index in self._planes:
                    values[mine] = self._planes[index][places[-2][mine], places[-1][mine]]
            return values
        ranges = [_positions(part, n) for part, n in zip(lead, self.shape, strict=False)]
        shown = np.zeros(self.shape[-2:], self.dtype)[rest].shape
        result = np.zeros((*map(len, ranges), *shown), self.dtype)
        for place in itertools.product(*(range(len(r)) for r in ranges)):
            index = tuple(r[i] for r, i in zip(ranges, place, strict=True))
            if index in self._planes:
                result[place] = self._planes[index][rest]
        single = tuple(axis for axis, part in enumerate(lead) if isinstance(part, Integral))
        return result.squeeze(single)

    def __setitem__(self, key: Any, values: Any) -> None:
        key = self._full_key(key)
        lead, rest = key[: self.ndim - 2], key[self.ndim - 2 :]
        if all(isinstance(part, Integral) for part in lead):
            self.plane(lead)[rest] = values
            return
        if any(np.ndim(part) for part in key if not isinstance(part, slice)):
            places = self._broadcast(key)
            spread = np.broadcast_to(values, places[0].shape)
            for index, mine in self._by_slice(places):
                self.plane(index)[places[-2][mine], places[-1][mine]] = spread[mine]
            return
        ranges = [_positions(part, n) for part, n in zip(lead, self.shape, strict=False)]
        spread = np.broadcast_to(values, self[key].shape)
        kept = [axis for axis, part in enumerate(lead) if not isinstance(part, Integral)]
        for place in itertools.product(*(range(len(r)) for r in ranges)):
            index = tuple(r[i] for r, i in zip(ranges, place, strict=True))
            self.plane(index)[rest] = spread[tuple(place[axis] for axis in kept)]

    def _broadcast(self, key: tuple[Any, ...]) -> list[npt.NDArray[np.int64]]:
        if any(isinstance(part, slice) for part in key):
            raise IndexError("Arrays of indices and slices cannot be mixed here.")
        arrays = np.broadcast_arrays(*(np.asarray(part, np.int64) for part in key))
        return [array % n for array, n in zip(arrays, self.shape, strict=True)]

    def _by_slice(
        self, places: list[npt.NDArray[np.int64]]
    ) -> list[tuple[SliceIndex, npt.NDArray[np.bool_]]]:
        leading = np.stack(places[:-2])
        indices = np.unique(leading.reshape(len(leading), -1), axis=1).T
        shape = (-1, *(1,) * (leading.ndim - 1))
        return [
            (tuple(index.tolist()), (leading == index.reshape(shape)).all(axis=0))
            for index in indices
        ]

    def max(self) -> Any:
        """Return the greatest element."""
        return max((plane.max() for plane in self._planes.values()), default=self.dtype.type(0))

    def any(self) -> bool:
        """Return whether any element is not 0."""
        return any(plane.any() for plane in self._planes.values())

    def __array__(self, dtype: Any = None, copy: Any = None) -> npt.NDArray[Any]:
        return np.asarray(self[...], dtype)


def _positions(part: Any, length: int) -> Sequence[int]:
    return range(*part.indices(length)) if isinstance(part, slice) else [int(part) % length]


def layer_plane(layer: Any, index: SliceIndex) -> npt.NDArray[Any]:
    """Return one slice of the full-size pixels of a layer's data; all where `index` is empty."""
    data = layer.data[0] if isinstance(layer.data, list | tuple) else layer.data
    if not index:
        return np.asarray(data)
    return data.plane(index) if isinstance(data, SliceStack) else np.asarray(data[index])
