"""Images and masks in memory at the working scale, one byte a channel and one for all masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from napari_fundus.errors import TrainingError
from napari_fundus.image_identity import ImageIdentity
from napari_fundus.results.objects import LesionObject
from napari_fundus.training.patches.drawn_objects import crop_objects, objects_to_label_planes


@dataclass(frozen=True, eq=False)
class StoredImage:
    """One image that patches are cut from.

    Attributes
    ----------
    id, group
        Of the sample; images of one group show the same eye.
    pixels
        uint8, shape (H, W, C), after preprocessing.
    bits
        uint8, shape (H, W): bit k is set where a lesion of class k lies.
    field_of_view
        bool, shape (H, W).
    annotated
        bool, shape (K,): the classes that an expert looked for.
    lesions
        Class code to number of lesions, for the report.
    unknown
        bool, shape (H, W): where no expert looked, so that there is nothing to learn; None for
        nowhere.
    objects
        Lesions that were drawn one by one, of the classes whose mask does not keep them apart.
    content
        Hash of the photograph and of what is annotated in it; empty where that is not known.
    identity
        The photograph by its content.
    """

    id: str
    group: str
    pixels: npt.NDArray[np.uint8]
    bits: npt.NDArray[np.uint8]
    field_of_view: npt.NDArray[np.bool_]
    annotated: npt.NDArray[np.bool_]
    lesions: Mapping[str, int]
    unknown: npt.NDArray[np.bool_] | None = None
    objects: tuple[LesionObject, ...] = ()
    content: str = ""
    identity: ImageIdentity | None = None

    @property
    def valid_mask(self) -> npt.NDArray[np.bool_]:
        """Field of view as far as experts looked at it: bool, shape (H, W)."""
        return self.field_of_view if self.unknown is None else self.field_of_view & ~self.unknown

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        unknown = 0 if self.unknown is None else self.unknown.nbytes
        arrays = self.pixels.nbytes + self.bits.nbytes + self.field_of_view.nbytes + unknown
        return arrays + sum(found.mask.nbytes for found in self.objects)


@dataclass(frozen=True, eq=False)
class PatchBatch:
    """Patches cut from a store.

    Attributes
    ----------
    images
        uint8, shape (B, S, S, C).
    masks
        uint8, shape (B, S, S), bit by class as in `StoredImage.bits`.
    annotated
        bool, shape (B, K).
    unknown
        bool, shape (B, S, S): where no expert looked; None where they looked everywhere.
    objects
        int32, shape (B, L, S, S): numbers of lesions that the masks do not keep apart, see
        `drawn_objects.objects_to_label_planes`; None where there is none.
    """

    images: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.uint8]
    annotated: npt.NDArray[np.bool_]
    unknown: npt.NDArray[np.bool_] | None = None
    objects: npt.NDArray[np.int32] | None = None

    def planes(self) -> npt.NDArray[np.uint8]:
        """Return the masks one plane a class: uint8, shape (B, K, S, S), values 0 and 1."""
        classes = np.arange(self.annotated.shape[1], dtype=np.uint8)[:, np.newaxis, np.newaxis]
        return (self.masks[:, np.newaxis] >> classes) & np.uint8(1)


class PatchStore(Sequence[StoredImage]):
    """The images of one part of a data set.

    Parameters
    ----------
    images
        All with the same number of channels and classes (at most 8).
    lesions
        Class codes, in the order of the bits.
    minimum_side
        Images are padded with 0, at the bottom and right, to at least this height and width, so
        that a patch fits.
    """

    def __init__(
        self, images: Sequence[StoredImage], lesions: Sequence[str], *, minimum_side: int = 1
    ) -> None:
        if not images:
            raise TrainingError("There is no image to take patches from.")
        if len(lesions) > 8:
            raise TrainingError(f"At most 8 classes can be trained at once, not {len(lesions)}.")
        for image in images:
            if not (image.pixels.shape[:2] == image.bits.shape == image.field_of_view.shape):
                raise TrainingError(f"Image, masks and field of view of {image.id} differ in size.")
            if image.annotated.shape != (len(lesions),):
                raise TrainingError(f"{image.id} must say of {len(lesions)} classes if annotated.")
            if image.unknown is not None and image.unknown.shape != image.bits.shape:
                raise TrainingError(f"The reviewed region of {image.id} differs from it in size.")
        self.lesions = tuple(str(code) for code in lesions)
        self._images = tuple(_padded(image, minimum_side) for image in images)
        self._partly_known = any(image.unknown is not None for image in images)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> StoredImage:  # type: ignore[override]
        return self._images[index]

    @property
    def nbytes(self) -> int:
        """Memory of all images."""
        return sum(image.nbytes for image in self._images)

    def extract_patches(
        self,
        images: npt.NDArray[np.integer],
        rows: npt.NDArray[np.integer],
        cols: npt.NDArray[np.integer],
        size: int,
    ) -> PatchBatch:
        """Cut square patches.

        Parameters
        ----------
        images
            Index of the image of each patch, shape (B,).
        rows, cols
            Its first row and column; the patch must lie within the image.
        size
            Its side in pixels.
        """
        count = len(images)
        pixels = np.empty((count, size, size, self._images[0].pixels.shape[2]), np.uint8)
        masks = np.empty((count, size, size), np.uint8)
        annotated = np.empty((count, len(self.lesions)), np.bool_)
        unknown = np.zeros((count, size, size), np.bool_) if self._partly_known else None
        apart: list[list[npt.NDArray[np.int32]]] = []
        # Slices copy whole rows: three to five times quicker than one fancy index over windows.
        for patch, (index, row, col) in enumerate(
            zip(images.tolist(), rows.tolist(), cols.tolist(), strict=True)
        ):
            image = self._images[index]
            window = np.s_[row : row + size, col : col + size]
            pixels[patch] = image.pixels[window]
            masks[patch] = image.bits[window]
            annotated[patch] = image.annotated
            if unknown is not None and image.unknown is not None:
                unknown[patch] = image.unknown[window]
            near = crop_objects(image.objects, row, col, (size, size))
            apart.append(objects_to_label_planes(near, self.lesions, (size, size)))
        return PatchBatch(pixels, masks, annotated, unknown, _stacked(apart, size))


def pack_masks(masks: Sequence[npt.NDArray[np.bool_]]) -> npt.NDArray[np.uint8]:
    """Return masks, bool (H, W) each, as the bits of one uint8 array, the first as bit 0."""
    bits = np.zeros(masks[0].shape, np.uint8)
    for number, mask in enumerate(masks):
        bits |= mask.astype(np.uint8) << np.uint8(number)
    return bits


def _stacked(
    apart: Sequence[Sequence[npt.NDArray[np.int32]]], size: int
) -> npt.NDArray[np.int32] | None:
    most = max(map(len, apart), default=0)
    if not most:
        return None
    objects = np.zeros((len(apart), most, size, size), np.int32)
    for patch, planes in enumerate(apart):
        for number, plane in enumerate(planes):
            objects[patch, number] = plane
    return objects


def _padded(image: StoredImage, least: int) -> StoredImage:
    height, width = image.bits.shape
    if min(height, width) >= least:
        return image
    more = (0, max(least - height, 0)), (0, max(least - width, 0))
    return replace(
        image,
        pixels=np.pad(image.pixels, (*more, (0, 0))),
        bits=np.pad(image.bits, more),
        field_of_view=np.pad(image.field_of_view, more),
        unknown=None if image.unknown is None else np.pad(image.unknown, more),
    )
