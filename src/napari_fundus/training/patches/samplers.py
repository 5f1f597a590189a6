"""Which patches make a batch: drawn from packed sets of positions, the same for the same seed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt

from napari_fundus.errors import TrainingError
from napari_fundus.training.patches.lesion_pixel_sampler import LesionPixelSampler
from napari_fundus.training.patches.store import PatchBatch, PatchStore, StoredImage

Positions = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]


class PackedPositions:
    """A set of places in many images, one bit each, from which any can be drawn by its rank.

    A stride-2 index of 54 images of 1,400 px has 20 million places: 3 MB here, against 500 MB as
    tuples of three numbers.

    Parameters
    ----------
    grids
        bool, shape (R, C), one for each image: whether the place at this grid row and column
        belongs to the set.
    stride
        Pixels from one grid place to the next.
    """

    def __init__(self, grids: Collection[npt.NDArray[np.bool_]], *, stride: int = 1) -> None:
        self.stride = stride
        width = max((grid.shape[1] for grid in grids), default=0)
        self._rows = np.zeros((sum(g.shape[0] for g in grids), -(-width // 8)), np.uint8)
        self._image = np.zeros(len(self._rows), np.int64)
        self._row = np.zeros(len(self._rows), np.int64)
        counts = np.zeros(len(self._rows), np.int64)
        start = 0
        for number, grid in enumerate(grids):
            stop = start + grid.shape[0]
            packed = np.packbits(grid, axis=1)
            self._rows[start:stop, : packed.shape[1]] = packed
            self._image[start:stop] = number
            self._row[start:stop] = np.arange(grid.shape[0])
            counts[start:stop] = grid.sum(axis=1)
            start = stop
        self._cumulative = np.cumsum(counts)

    def __len__(self) -> int:
        return int(self._cumulative[-1]) if len(self._cumulative) else 0

    @property
    def nbytes(self) -> int:
        """Memory used."""
        return sum(a.nbytes for a in (self._rows, self._image, self._row, self._cumulative))

    def at(self, ranks: npt.NDArray[np.int64]) -> Positions:
        """Return image, row and column (in pixels) of the places with these ranks, from 0 on."""
        lines = np.searchsorted(self._cumulative, ranks, side="right")
        before = np.where(lines > 0, self._cumulative[lines - 1], 0)
        seen = np.cumsum(np.unpackbits(self._rows[lines], axis=1), axis=1, dtype=np.int32)
        cols = (seen > (ranks - before)[:, np.newaxis]).argmax(axis=1)
        return self._image[lines], self._row[lines] * self.stride, cols * self.stride

    def draw(self, rng: np.random.Generator, count: int) -> Positions:
        """Draw places, each with the same probability, with repetition."""
        return self.at(rng.integers(0, len(self), count))


class PatchSampler(ABC):
    """Draws batches of patches from a store.

    Parameters
    ----------
    store
        The images.
    size
        Side of the patches in pixels.
    """

    def __init__(self, store: PatchStore, size: int) -> None:
        self.store = store
        self.size = size
        for image in store:
            if min(image.bits.shape) < size:
                raise TrainingError(
                    f"{image.id} is smaller than a patch of {size} px: give the store "
                    f"minimum_side={size}."
                )

    @abstractmethod
    def positions(self, rng: np.random.Generator, count: int) -> Positions:
        """Draw image, first row and first column of `count` patches."""

    @property
    @abstractmethod
    def counts(self) -> Mapping[str, int]:
        """Number of places to draw from, by kind."""

    def batch(self, count: int, *key: int) -> PatchBatch:
        """Return `count` patches that depend on nothing but `key` (seed, epoch, step, …).

        No state is kept between batches, so they may be prefetched, in any thread and order, and a
        resumed training sees just those that the killed one would have seen.
        """
        rng = np.random.default_rng(key)
        return self.store.extract_patches(*self.positions(rng, count), self.size)


class BalancedSampler(PatchSampler):
    """Patches on a grid inside the field of view, a fixed share of them with lesion pixels.

    A place belongs to the grid if the patch lies within the image and its centre within the field
    of view (open in the paper). Patches without a lesion come only from images where all classes
    were annotated: elsewhere one may be present all the same.

    Parameters
    ----------
    store, size
        As in :class:`PatchSampler`.
    stride
        Step of the grid in pixels.
    positive_share
        Share of patches with at least one lesion pixel.
    negative_image_indices
        Indices of the images that patches without lesions may come from; None for all. Some
        methods take them from images without any sign of disease only.
    """

    def __init__(
        self,
        store: PatchStore,
        size: int,
        *,
        stride: int = 2,
        positive_share: float = 0.8,
        negative_image_indices: Collection[int] | None = None,
    ) -> None:
        super().__init__(store, size)
        self.positive_share = positive_share
        positive, negative = [], []
        for index, image in enumerate(store):
            inside = _window_grid(image.valid_mask, size, stride)
            lesion = _any_in_window((image.bits != 0) & _known(image), size, stride)
            allowed = image.annotated.all() and (
                negative_image_indices is None or index in negative_image_indices
            )
            positive.append(inside & lesion)
            negative.append(inside & ~lesion if allowed else np.zeros_like(inside))
        self.positive = PackedPositions(positive, stride=stride)
        self.negative = PackedPositions(negative, stride=stride)
        if positive_share > 0 and not len(self.positive):
            raise TrainingError(
                f"No patch holds a lesion of class {', '.join(store.lesions)}: choose images that "
                "have some."
            )

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of patches with and without a lesion."""
        return {"with lesion": len(self.positive), "without lesion": len(self.negative)}

    def positions(self, rng: np.random.Generator, count: int) -> Positions:
        """Draw patches of both kinds, mixed."""
        wanted = round(self.positive_share * count) if len(self.negative) else count
        first = self.positive.draw(rng, wanted)
        second = self.negative.draw(rng, count - wanted) if count > wanted else (first[0][:0],) * 3
        # Mixed, so that groups of a batch that are augmented alike hold both kinds.
        order = rng.permutation(count)
        images, rows, cols = (
            np.concatenate(pair)[order] for pair in zip(first, second, strict=True)
        )
        return images, rows, cols


class LesionCentredSampler(PatchSampler):
    """Larger patches, a share of them centred near a lesion of a class that is drawn first.

    So that rare classes are seen often, however few their pixels are.

    Parameters
    ----------
    store, size
        As in :class:`PatchSampler`.
    class_shares
        Class code to share of patches centred near it; what is left of 1 is drawn from the whole
        field of view. The share of a class without any pixel is left to the others.
    jitter
        Largest distance of centre and lesion pixel along each axis, as a share of `size`.
    area_power
        A lesion is drawn in proportion to its area to this power, see `LesionPixelSampler`.
    """

    def __init__(
        self,
        store: PatchStore,
        size: int,
        *,
        class_shares: Mapping[str, float],
        jitter: float = 0.25,
        area_power: float = 1.0,
    ) -> None:
        super().__init__(store, size)
        if unknown := set(class_shares) - set(store.lesions):
            raise TrainingError(f"No such class in the data: {', '.join(sorted(unknown))}.")
        if sum(class_shares.values()) > 1 + 1e-9 or min(class_shares.values(), default=0) < 0:
            raise TrainingError(
                "The shares of the classes must be 0 or more, and at most 1 together."
            )
        self._sets: dict[str, PackedPositions | LesionPixelSampler] = {
            "anywhere": PackedPositions([i.valid_mask[::2, ::2] for i in store], stride=2)
        }
        weights = {"anywhere": 1 - sum(class_shares.values())}
        for code, share in class_shares.items():
            bit = np.uint8(1 << store.lesions.index(code))
            masks = [((image.bits & bit) > 0) & _known(image) for image in store]
            self._sets[code] = (
                PackedPositions(masks)
                if area_power == 1
                else LesionPixelSampler(masks, power=area_power)
            )
            weights[code] = share
        total = {code: w for code, w in weights.items() if len(self._sets[code])}
        if not sum(total.values()) > 0:
            raise TrainingError("There is no place to take patches from.")
        scale = sum(w for c, w in class_shares.items() if c in total)
        wanted = sum(class_shares.values())
        self._shares = {
            code: w if code == "anywhere" or not scale else w * wanted / scale
            for code, w in total.items()
        }
        self._jitter = int(jitter * size)

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of pixels that may be near the centre, by class."""
        return {code: len(found) for code, found in self._sets.items()}

    def positions(self, rng: np.random.Generator, count: int) -> Positions:
        """Draw a class for each patch, then a lesion's pixel, then the shift."""
        codes = list(self._shares)
        share = np.array([self._shares[code] for code in codes])
        kinds = rng.choice(len(codes), count, p=share / share.sum())
        images, rows, cols = (np.zeros(count, np.int64) for _ in range(3))
        for number, code in enumerate(codes):
            chosen = kinds == number
            images[chosen], rows[chosen], cols[chosen] = self._sets[code].draw(
                rng, int(chosen.sum())
            )
        shift = rng.integers(-self._jitter, self._jitter + 1, (2, count))
        shapes = np.array([image.bits.shape for image in self.store])[images]
        rows = np.clip(rows + shift[0] - self.size // 2, 0, shapes[:, 0] - self.size)
        cols = np.clip(cols + shift[1] - self.size // 2, 0, shapes[:, 1] - self.size)
        return images, rows, cols


def _known(image: StoredImage) -> npt.NDArray[np.bool_] | np.bool_:
    """Return where experts looked: lesions elsewhere were not drawn by anyone."""
    return np.True_ if image.unknown is None else ~image.unknown


def _window_grid(inside: npt.NDArray[np.bool_], size: int, stride: int) -> npt.NDArray[np.bool_]:
    """Return for each patch on the grid whether its centre is inside."""
    height, width = inside.shape
    middle = size // 2
    return np.ascontiguousarray(
        inside[
            middle : height - size + middle + 1 : stride,
            middle : width - size + middle + 1 : stride,
        ]
    )


def _any_in_window(mask: npt.NDArray[np.bool_], size: int, stride: int) -> npt.NDArray[np.bool_]:
    """Return for each patch on the grid whether it holds a pixel of `mask`: summed-area table."""
    table = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    np.cumsum(mask, axis=0, out=table[1:, 1:])
    np.cumsum(table[1:, 1:], axis=1, out=table[1:, 1:])
    low, high = table[:-size:stride], table[size::stride]
    found: npt.NDArray[np.bool_] = (
        high[:, size::stride]
        - high[:, :-size:stride]
        - low[:, size::stride]
        + low[:, :-size:stride]
    ) > 0
    return found
