"""The local mean of a photograph: a Gaussian blur that knows of the disc, exact and fast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]
T = TypeVar("T")

_NODES_PER_SIGMA = 3.0
"""Nodes of the coarse grid in a sigma: a cubic spline through them errs by 5e-5 of the range."""

_REACH = 4.5
"""Sigmas after which the Gaussian is cut: 7e-6 of its weight lies beyond."""

_MARGIN = 10
"""Nodes beyond the frame, where the spline's boundary condition fades."""

_BAND = 64
"""Rows worked on at a time, so that they stay in the processor's cache."""

_AREA_SIGMA = 10.0
"""Least sigma, in decimated pixels, for which averaging blocks of pixels first does no harm."""

_EMPTY = 1e-6
"""Share of the Gaussian over the field of view below which there is no mean to speak of."""


def local_mean_exact(
    pixels: npt.NDArray[Any], *, field_of_view: npt.NDArray[np.bool_], sigma: float
) -> npt.NDArray[np.float64]:
    """Return the mean of `pixels` under a Gaussian, over the field of view only.

    Normalized convolution (Knutsson & Westin 1993): ``G * (I m) / (G * m)`` with m the field of
    view; what lies outside it, or outside the frame, has no weight. This is the plain reference
    at full resolution, in double precision and truncated at 6 sigma.

    Parameters
    ----------
    pixels
        uint8 or uint16, shape (H, W) or (H, W, C).
    field_of_view
        bool, shape (H, W).
    sigma
        Standard deviation of the Gaussian in pixels.

    Returns
    -------
    numpy.ndarray
        float64, shape of `pixels`; 0 where the field of view is out of reach.
    """
    from scipy.ndimage import gaussian_filter1d

    def blurred(plane: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        for axis in (0, 1):
            plane = gaussian_filter1d(plane, sigma, axis=axis, mode="constant", truncate=6.0)
        return plane

    weight = blurred(field_of_view.astype(np.float64))
    planes = pixels.reshape(*pixels.shape[:2], -1)
    result = np.zeros(planes.shape, np.float64)
    known = weight > _EMPTY
    for index in range(planes.shape[2]):
        plane = blurred(planes[..., index] * field_of_view.astype(np.float64))
        np.divide(plane, weight, out=result[..., index], where=known)
    return result.reshape(pixels.shape)


@dataclass(frozen=True)
class _Axis:
    """Nodes along one axis, and the weights that lead to them and back."""

    length: int
    sigma: float
    block: int

    @property
    def spacing(self) -> float:
        return self.sigma / _NODES_PER_SIGMA

    @property
    def count(self) -> int:
        return int(np.ceil(self.length / self.spacing)) + 1 + 2 * _MARGIN

    @property
    def nodes(self) -> npt.NDArray[np.float64]:
        """Positions of the nodes in pixels."""
        return (np.arange(self.count, dtype=np.float64) - _MARGIN) * np.float64(self.spacing)

    def gather(self, start: int, stop: int) -> tuple[slice, Float]:
        """Return which nodes the pixels `start` to `stop` reach, and their weights there.

        Pixels are averaged over blocks before they are weighed: `start` and `stop` are multiples
        of the block, and a column of the (nodes, blocks) weights belongs to a block.
        """
        centres = np.arange(start, stop, self.block) + (self.block - 1) / 2
        reach = _REACH * self.sigma
        nodes = self.nodes
        first, last = np.searchsorted(nodes, (centres[0] - reach, centres[-1] + reach))
        # The blocks' own width has already added to the variance.
        variance = self.sigma**2 - (self.block**2 - 1) / 12
        away = nodes[first:last, np.newaxis] - centres
        weights = np.exp(-(away**2) / (2 * variance)) * self.block
        weights /= np.sqrt(2 * np.pi * variance)
        return slice(int(first), int(last)), weights.astype(np.float32)

    def spread(self, start: int, stop: int) -> tuple[slice, Float]:
        """Return which nodes the pixels `start` to `stop` lie between, and the spline weights."""
        place = np.arange(start, stop) / self.spacing + _MARGIN
        base = np.floor(place).astype(np.intp)
        t = place - base
        first, last = int(base[0]) - 1, int(base[-1]) + 3
        weights = np.zeros((stop - start, last - first), np.float32)
        taps = (
            (1 - t) ** 3 / 6,
            (3 * t**3 - 6 * t**2 + 4) / 6,
            (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
            t**3 / 6,
        )
        rows = np.arange(stop - start)
        for shift, tap in enumerate(taps):
            weights[rows, base - 1 - first + shift] = tap
        return slice(first, last), weights


class LocalMean:
    """The local mean of a photograph, kept as a spline on a coarse grid.

    The blur is smooth, so it is worked out only at nodes a third of sigma apart: pixels are
    averaged over small blocks where sigma allows it, weighed with the Gaussian (narrowed by the
    blocks' own variance) by matrix products in bands of rows, and normalized by the weight of the
    field of view. A cubic spline through the nodes gives any pixel back. The mean is within 0.01
    grey level (of 256) of :func:`local_mean_exact` on photographs, 0.15 on a white square on black,
    0.25 on black and white noise.

    Parameters
    ----------
    pixels
        uint8 or uint16, shape (H, W) or (H, W, C).
    field_of_view
        bool, shape (H, W).
    sigma
        Standard deviation in pixels, at least `LEAST_SIGMA`.
    """

    LEAST_SIGMA = 6.0

    def __init__(
        self,
        pixels: npt.NDArray[Any],
        *,
        field_of_view: npt.NDArray[np.bool_],
        sigma: float,
    ) -> None:
        height, width = pixels.shape[:2]
        self.shape = pixels.shape
        self._channels = pixels.shape[2] if pixels.ndim == 3 else 1
        block = max(int(sigma / _AREA_SIGMA), 1)
        self._rows = _Axis(height, sigma, block)
        self._cols = _Axis(width, sigma, block)
        sums, weight = self._at_nodes(pixels, field_of_view)
        sums /= np.maximum(weight, _EMPTY)[:, np.newaxis]
        self._coefficients = self._across(_prefilter(sums))

    def _at_nodes(
        self, pixels: npt.NDArray[Any], field_of_view: npt.NDArray[np.bool_]
    ) -> tuple[Float, Float]:
        """Return blurred image (rows, C, columns) and blurred field of view, at the nodes."""
        import cv2

        height, width = pixels.shape[:2]
        block, channels = self._rows.block, self._channels
        blocks = -(-width // block)
        mask = np.ascontiguousarray(field_of_view).view(np.uint8)
        starts = range(0, height, _BAND * block)

        def gathered(own: range) -> tuple[Float, Float]:
            values = np.zeros((self._rows.count, blocks * channels), np.float32)
            weights = np.zeros((self._rows.count, blocks), np.float32)
            lit = np.zeros((_BAND * block, blocks * block, *pixels.shape[2:]), np.float32)
            seen = np.zeros(lit.shape[:2], np.float32)
            for start in own:
                rows = slice(start, min(start + _BAND * block, height))
                count = rows.stop - start
                lit[:count, :width] = cv2.copyTo(pixels[rows], mask[rows])
                seen[:count, :width] = mask[rows]
                lit[count:], seen[count:] = 0, 0
                nodes, gather = self._rows.gather(start, rows.stop)
                values[nodes] += gather @ _averaged(lit, block)[: gather.shape[1]]
                weights[nodes] += gather @ _averaged(seen, block)[: gather.shape[1]]
            return values, weights

        # The same two halves on any machine, so that the sums are the same to the bit.
        middle = len(starts) // 2
        (values, weights), (more_values, more_weights) = _in_threads(
            gathered, [starts[:middle], starts[middle:]]
        )
        values += more_values
        weights += more_weights
        planes = values.reshape(-1, blocks, channels).transpose(0, 2, 1)
        across = self._gather_across(np.ascontiguousarray(planes).reshape(-1, blocks))
        sums = across.reshape(self._rows.count, channels, -1)
        return sums, self._gather_across(weights)

    def _gather_across(self, lines: Float) -> Float:
        block = self._cols.block
        result = np.zeros((len(lines), self._cols.count), np.float32)
        step = 128
        for start in range(0, lines.shape[1], step):
            stop = min(start + step, lines.shape[1])
            nodes, gather = self._cols.gather(start * block, stop * block)
            result[:, nodes] += lines[:, start:stop] @ gather.T
        return result

    def _across(self, coefficients: Float) -> Float:
        """Evaluate the spline along each line of nodes: float32 (row nodes, W · C)."""
        nodes, channels, _ = coefficients.shape
        width = self._cols.length
        lines = coefficients.reshape(nodes * channels, -1)
        result = np.empty((nodes, width, channels), np.float32)
        step = 128
        for start in range(0, width, step):
            stop = min(start + step, width)
            place, spread = self._cols.spread(start, stop)
            part = (lines[:, place] @ spread.T).reshape(nodes, channels, -1)
            result[:, start:stop] = part.transpose(0, 2, 1)
        return result.reshape(nodes, -1)

    def for_each_band(
        self, visitor: Callable[[slice, Float], None], *, gain: float = 1.0, offset: float = 0.0
    ) -> None:
        """Call `visitor` with the rows of each band and ``gain · mean + offset`` there.

        Bands come in any order and from two threads; the array, float32 (rows, W[, C]), is the
        visitor's only until it returns.
        """
        coefficients = self._coefficients * np.float32(gain) + np.float32(offset)
        starts = range(0, self._rows.length, _BAND)

        def spread_out(own: range) -> None:
            # One buffer a thread: fresh memory costs more than the arithmetic.
            buffer = np.empty((_BAND, coefficients.shape[1]), np.float32)
            for start in own:
                rows = slice(start, min(start + _BAND, self._rows.length))
                place, spread = self._rows.spread(start, rows.stop)
                band = buffer[: rows.stop - start]
                np.matmul(spread, coefficients[place], out=band)
                visitor(rows, band.reshape(-1, *self.shape[1:]))

        _in_threads(spread_out, [starts[::2], starts[1::2]])


def _in_threads(work: Callable[[range], T], parts: Sequence[range]) -> list[T]:
    """Return the results of `work` on each part; NumPy and OpenCV leave the lock to each other."""
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(work, parts))


def _averaged(plane: Float, block: int) -> Float:
    """Return the means over squares of `block` pixels: float32 (rows / block, blocks · C)."""
    import cv2

    if block > 1:
        size = (plane.shape[1] // block, plane.shape[0] // block)
        plane = np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32)
    return plane.reshape(len(plane), -1)


def _prefilter(values: Float) -> Float:
    """Return the coefficients of the cubic spline that passes through the `values`."""
    from scipy.ndimage import spline_filter1d

    for axis in (0, 2):
        values = spline_filter1d(values, order=3, axis=axis, output=np.float32, mode="mirror")
    return values
