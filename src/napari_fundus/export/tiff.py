"""Labels, maps of probability and objects as tiled, compressed TIFF files, and their reading."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from napari_fundus._version import __version__
from napari_fundus.errors import FundusError
from napari_fundus.export.metadata import (
    Page,
    ResultMetadata,
    detection_pages,
    page_title,
    result_metadata,
    to_detections,
)
from napari_fundus.image import MAX_PIXELS
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.runtime.files import atomic_write, check_is_file

_TILE = (256, 256)
_PAGE_NAME = 285
_COMPRESSIONS = frozenset({1, 8})
"""None and Deflate, which fill as many bytes as the page's header says."""

_BIGTIFF_FROM = 3_500_000_000
_HORIZONTAL, _FLOATING_POINT = 2, 3


def write_labels_tiff(detections: Detections, path: str | Path, *, overwrite: bool = False) -> None:
    """Write the labels: int32, one page a class, 0 for none, values as in the table's ``id``.

    Each page bears the name of its class; the first one's ImageDescription holds the provenance
    as JSON. Where the detector finds no class at all, the file holds one empty page.

    Raises
    ------
    OutputExistsError
        The file exists, and `overwrite` is False.
    """
    pages = [Page("labels", str(code), array) for code, array in detections.labels.items()]
    pages = pages or [_empty_page(detections)]
    head = result_metadata(detections, pages, with_objects=False)
    _write(path, pages, head, overwrite=overwrite)


def write_probability_tiff(
    detections: Detections, path: str | Path, *, overwrite: bool = False
) -> None:
    """Write everything that a result is made of, without loss: maps, objects, field of view.

    The maps of probability come first, then the heat maps and those of single stages, each a page
    of float32; the field of view is a last page of uint8, 0 or 255. Objects stand beside the
    provenance, their masks as run lengths.

    Raises
    ------
    OutputExistsError
        The file exists, and `overwrite` is False.
    """
    pages = detection_pages(detections)
    if detections.field_of_view is not None:
        disc = detections.field_of_view.astype(np.uint8) * np.uint8(255)
        pages.append(Page("field_of_view", "", disc))
    pages = pages or [_empty_page(detections)]
    head = result_metadata(detections, pages)
    _write(path, pages, head, overwrite=overwrite)


def _empty_page(detections: Detections) -> Page:
    return Page("none", "", np.zeros(detections.shape, np.uint8))


def _write(
    path: str | Path, pages: Sequence[Page], head: dict[str, Any], *, overwrite: bool
) -> None:
    with (
        atomic_write(path, overwrite=overwrite) as temporary,
        tifffile.TiffWriter(
            temporary, bigtiff=sum(p.array.nbytes for p in pages) > _BIGTIFF_FROM
        ) as tiff,
    ):
        for number, page in enumerate(pages):
            array = page.array
            tiff.write(
                array,
                tile=_TILE,
                photometric="minisblack",
                compression="zlib",
                # Level 1 compresses maps to nearly the same size as level 6, several times as fast.
                compressionargs={"level": 1},
                predictor=_FLOATING_POINT if array.dtype == np.float32 else _HORIZONTAL,
                description=json.dumps(head if number == 0 else {"page": number}),
                software=f"napari-fundus {__version__}",
                metadata=None,
                # tifffile refuses text beyond ASCII, such as the × of a stage, but not bytes.
                extratags=[(_PAGE_NAME, "s", 0, page_title(page).encode(), True)],
            )


def read_labels_tiff(path: str | Path) -> tuple[dict[str, npt.NDArray[np.int32]], Provenance]:
    """Read a file of :func:`write_labels_tiff`: class code to labels, and the provenance.

    Raises
    ------
    FundusError
        The file is not one of ours, or damaged.
    """
    head, pages = _read(path)
    return (
        {page.code: page.array for page in pages if page.kind == "labels"},
        head.provenance,
    )


def read_probability_tiff(path: str | Path) -> Detections:
    """Read a file of :func:`write_probability_tiff`: a result equal to the one written.

    Raises
    ------
    FundusError
        The file is not one of ours, or damaged.
    """
    head, pages = _read(path)
    try:
        return to_detections(head, pages)
    except ValueError as error:
        raise FundusError(f"{path} is damaged: {error}.") from error


def _read(path: str | Path) -> tuple[ResultMetadata, list[Page]]:
    # What damaged TIFFs raise is not documented; this is the boundary where all of it is caught.
    try:
        check_is_file(path)
        with tifffile.TiffFile(path) as tiff:
            head = ResultMetadata.model_validate_json(tiff.pages.first.description)
            pages = [
                Page(entry.kind, entry.lesion, _array(page, head.provenance.image_shape))
                for entry, page in zip(head.pages, tiff.pages, strict=True)
            ]
    except FileNotFoundError:
        raise
    except Exception as error:
        raise FundusError(
            f"{path} is not a TIFF written by napari-fundus, or is damaged: {error}"
        ) from error
    return head, pages


def _array(page: Any, shape: tuple[int, int]) -> npt.NDArray[Any]:
    """Decode a page of the image's shape; one that claims another is not decoded at all."""
    sides = page.tilelength, page.tilewidth
    if page.shape != shape or math.prod(shape) > MAX_PIXELS or (any(sides) and sides != _TILE):
        raise ValueError(f"a page has shape {page.shape}, the image {shape}")
    # Decoders of other compressions unpack whatever the stream in a tile claims.
    if page.compression not in _COMPRESSIONS:
        raise ValueError(f"a page has the compression {page.compression}")
    # As much memory as a tile claims to fill in the file is taken before it is read.
    if max(page.databytecounts, default=0) > page.parent.filehandle.size:
        raise ValueError("a tile is larger than the file")
    array: npt.NDArray[Any] = page.asarray()
    return array
