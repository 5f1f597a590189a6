"""The files of a corrected image: its copy, its labels, and the mask of what was looked at."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from napari_fundus.errors import DatasetError, ImageReadError
from napari_fundus.image import FundusImage, read_image
from napari_fundus.runtime.files import atomic_write

FileName = Annotated[str, Field(pattern=r"^[^./\\:\x00][^/\\:\x00]*$", max_length=255)]
"""A file beside the record: a name alone, so that no record leads out of its folder."""


class CorrectedImage(BaseModel):
    """The image: its copy, and where it came from.

    Attributes
    ----------
    name
        For people.
    file
        Name of the copy.
    sha256
        Of shape, dtype and pixels, see `FundusImage.sha256`.
    shape
        Height and width in pixels.
    path
        Of the original, where there is one.
    field_of_view
        File of the mask that came with it.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    file: FileName
    sha256: str
    shape: tuple[int, int]
    path: str | None = None
    field_of_view: FileName | None = None


def copy_image(place: Path, image: FundusImage) -> CorrectedImage:
    """Copy the image's file into `place` if it holds these very pixels; else write them as PNG."""
    source = image.path
    if source is not None and _holds(source, image):
        name = f"image{source.suffix.casefold()}"
        with atomic_write(place / name, overwrite=True) as temporary:
            shutil.copyfile(source, temporary)
    else:
        name = "image.png"
        with atomic_write(place / name, overwrite=True) as temporary:
            _write_png(temporary, image.pixels)
    disc = image.given_field_of_view
    if disc is not None:
        with atomic_write(place / "field_of_view.png", overwrite=True) as temporary:
            _write_png(temporary, disc.astype(np.uint8) * np.uint8(255))
    return CorrectedImage(
        name=image.name,
        file=name,
        sha256=image.sha256,
        shape=image.shape,
        path=None if source is None else str(source),
        field_of_view=None if disc is None else "field_of_view.png",
    )


def _holds(path: Path, image: FundusImage) -> bool:
    try:
        return read_image(path).sha256 == image.sha256
    except (ImageReadError, OSError):
        return False


def _write_png(path: Path, pixels: npt.NDArray[Any]) -> None:
    import imagecodecs

    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels), level=4))


def write_region(place: Path, region: npt.NDArray[np.bool_]) -> str:
    """Write the mask into `place` under a name derived from its content, and return that."""
    name = f"region-{hashlib.sha256(np.packbits(region).tobytes()).hexdigest()[:8]}.png"
    if not (place / name).is_file():
        with atomic_write(place / name) as temporary:
            _write_png(temporary, region.astype(np.uint8) * np.uint8(255))
    return name


def write_labels(
    path: Path,
    labels: npt.NDArray[Any] | None,
    region: npt.NDArray[np.bool_] | None,
    shape: tuple[int, int],
) -> int:
    """Write labels as far as they lie in the region, and return the number of lesions.

    Parameters
    ----------
    path
        Of a TIFF that does not exist yet: uint16, or uint32 where the values need it.
    labels
        Integer, or bool (8-connected components are lesions), shape (H, W); None for no lesion.
    region
        bool, shape (H, W); None for everywhere.
    shape
        Height and width.
    """
    import tifffile

    values = np.zeros(shape, np.uint16) if labels is None else np.asarray(labels)
    if values.dtype.kind not in "iub":
        raise DatasetError(f"Labels are whole numbers or bool, not {values.dtype}.")
    if region is not None:
        values = np.where(region, values, np.zeros((), values.dtype))
    if values.dtype == np.bool_:
        drawn = np.ascontiguousarray(values).view(np.uint8)
        values = np.asarray(cv2.connectedComponents(drawn, connectivity=8)[1])
    largest = int(values.max(initial=0))
    kept = values.astype(np.uint16 if largest <= np.iinfo(np.uint16).max else np.uint32)
    with atomic_write(path) as temporary:
        tifffile.imwrite(
            temporary,
            kept,
            photometric="minisblack",
            compression="zlib",
            compressionargs={"level": 4},
        )
    return int(np.count_nonzero(np.bincount(kept.ravel())[1:]))
