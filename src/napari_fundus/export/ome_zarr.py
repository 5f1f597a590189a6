"""A whole result as an OME-Zarr store: compressed pieces that are read one by one."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import numpy as np

from napari_fundus.errors import FundusError, OptionsError
from napari_fundus.export.metadata import (
    Page,
    ResultMetadata,
    detection_pages,
    page_title,
    result_metadata,
    to_detections,
)
from napari_fundus.image import MAX_PIXELS
from napari_fundus.results.detections import Detections
from napari_fundus.runtime.files import atomic_folder, check_is_file, read_json

_CHUNK = 512
_METADATA_KEY = "napari_fundus"
_MAPS, _FIELD = "0", "labels/field_of_view/0"
_NOT_STORED = np.iinfo(np.uint64).max
_BLOSC_HEADER, _BLOSC_COPIED = 16, 0x02
"""The index's entry of a chunk that holds nothing but zeros."""

_MOST_MAPS = 64
_LABELS = {"version": "0.5", "labels": ["field_of_view"]}


def check_zarr() -> None:
    """Raise `OptionsError` where the zarr library is not installed."""
    if importlib.util.find_spec("zarr") is None:
        raise OptionsError(
            "The format 'zarr' needs the zarr library: pip install \"napari-fundus[scale]\""
        )


def write_zarr(detections: Detections, path: str | Path, *, overwrite: bool = False) -> None:
    """Write everything that a result is made of, without loss, as OME-Zarr 0.5 (Zarr format 3).

    The maps are the channels of array ``0``, float32, shape (C, H, W), in compressed chunks of 512
    × 512 px; a channel is one file, so that an archive does not drown in files. The field of view
    is the label image ``field_of_view``. Names of the channels stand in the attribute
    ``ome``, with the scale (1 px: a photograph has none in micrometres); provenance, thresholds and
    objects in ``napari_fundus``.

    Raises
    ------
    OptionsError
        The zarr library is not installed.
    OutputExistsError
        The store exists, and `overwrite` is False.
    """
    check_zarr()
    import zarr

    pages = detection_pages(detections)
    height, width = detections.shape
    shown = [page_title(page) for page in pages] or ["nothing"]
    ome = {
        "version": "0.5",
        "multiscales": [_multiscale(detections.provenance.image_name, channels=True)],
        "omero": {"channels": [_channel(title) for title in shown]},
    }
    with atomic_folder(path, overwrite=overwrite) as temporary:
        root = zarr.create_group(
            temporary, attributes={"ome": ome, _METADATA_KEY: result_metadata(detections, pages)}
        )
        maps = _create(root, _MAPS, (len(shown), height, width), "float32")
        for number, page in enumerate(pages):
            maps[number] = page.array
        if detections.field_of_view is not None:
            root.create_group("labels", attributes={"ome": _LABELS})
            root.create_group(
                "labels/field_of_view",
                attributes={
                    "ome": {
                        "version": "0.5",
                        "multiscales": [_multiscale("field of view", channels=False)],
                        "image-label": {},
                    }
                },
            )
            field = _create(root, _FIELD, (height, width), "uint8")
            field[:] = detections.field_of_view.astype(np.uint8)


def is_zarr_result(path: str | Path) -> bool:
    """Whether a folder is a store that :func:`write_zarr` wrote, judged by its head."""
    path = Path(path)
    if path.suffix.casefold() != ".zarr":
        return False
    try:
        return _METADATA_KEY in read_json(path / "zarr.json")["attributes"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_zarr(path: str | Path) -> Detections:
    """Read a store of :func:`write_zarr`: a result equal to the one written.

    Only what :func:`write_zarr` writes is read: other codecs, types and sizes are refused before
    any of their data is looked at.

    Raises
    ------
    FileNotFoundError
        There is no such store.
    FundusError
        It is not one of ours, or damaged.
    OptionsError
        The zarr library is not installed.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"There is no folder {path}.")
    check_zarr()
    # What damaged stores raise is not documented; this is the boundary where all of it is caught.
    try:
        head = ResultMetadata.model_validate(
            read_json(path / "zarr.json")["attributes"][_METADATA_KEY]
        )
        shape = head.provenance.image_shape
        if len(head.pages) > _MOST_MAPS or math.prod(shape) > MAX_PIXELS:
            raise ValueError(f"{len(head.pages)} maps of shape {shape} are too many")
        count = max(len(head.pages), 1)
        maps = _open_checked(path / _MAPS, (count, *shape), "float32")
        pages = [
            Page(entry.kind, entry.lesion, np.asarray(maps[number]))
            for number, entry in enumerate(head.pages)
        ]
        if (path / _FIELD).exists():
            field = np.asarray(_open_checked(path / _FIELD, shape, "uint8")[:])
            pages.append(Page("field_of_view", "", field))
        return to_detections(head, pages)
    except Exception as error:
        raise FundusError(
            f"{path} is not a Zarr store written by napari-fundus, or is damaged: {error}"
        ) from error


def _create(root: Any, name: str, shape: tuple[int, ...], dtype: str) -> Any:
    from zarr.codecs import BloscCodec

    chunks, shards = _chunk_and_shard_shapes(shape)
    return root.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        shards=shards,
        compressors=BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"),
        dimension_names="cyx"[-len(shape) :],
        fill_value=0,
    )


def _chunk_and_shard_shapes(shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of chunks, and of shards, which are the files: one for each channel."""
    ones = (1,) * (len(shape) - 2)
    sides = (-(-side // _CHUNK) * _CHUNK for side in shape[-2:])
    return (*ones, _CHUNK, _CHUNK), (*ones, *sides)


def _open_checked(folder: Path, shape: tuple[int, ...], dtype: str) -> Any:
    """Open an array that is what :func:`_create` makes, and claims no more memory."""
    import zarr

    chunks, shards = _chunk_and_shard_shapes(shape)
    array: Any = zarr.open_array(folder, mode="r", zarr_format=3)
    (sharding,) = array.metadata.codecs
    codecs = (*array.filters, array.serializer, *array.compressors, *sharding.index_codecs)
    found = (
        (array.shape, array.dtype.name, array.chunks, array.shards, sharding.index_location.value),
        [type(codec).__name__ for codec in codecs],
    )
    expected = (
        (shape, dtype, chunks, shards, "end"),
        ["BytesCodec", "BloscCodec", "BytesCodec", "Crc32cCodec"],
    )
    if found != expected:
        raise ValueError(f"its array {folder.name} is {found}, not {expected}")
    size = math.prod(chunks) * array.dtype.itemsize
    for file in folder.rglob("*"):
        if not file.is_dir() and file.name != "zarr.json":
            _check_shard(file, math.prod(shards) // math.prod(chunks), size, array.dtype.itemsize)
    return array


def _check_shard(file: Path, count: int, size: int, itemsize: int) -> None:
    """Refuse a file whose chunks would not each unpack to `size` bytes, of the bytes they have.

    Blosc believes its header: it fills as many bytes as that claims, and reads as many.
    """
    check_is_file(file)
    content = np.memmap(file, np.uint8, mode="r")
    index = content[-16 * count - 4 : -4].view("<u8").reshape(count, 2)
    index = index[index[:, 0] != _NOT_STORED]
    if (index > len(content)).any() or (index.sum(axis=1) > len(content)).any():
        raise ValueError("a chunk lies outside its file")
    starts, stored = index.astype(np.int64).T
    if (stored < _BLOSC_HEADER).any():
        raise ValueError("a chunk has no header")
    # Bytes: version, that of the codec, flags, size of an element; then sizes in bytes: unpacked,
    # of a block, packed.
    head = content[starts[:, np.newaxis] + np.arange(_BLOSC_HEADER)]
    unpacked, block, packed = head[:, 4:].copy().view("<u4").astype(np.int64).T
    if (unpacked != size).any() or (packed != stored).any():
        raise ValueError("a chunk claims another size than it has")
    if (block < 1).any() or (block > size).any() or (head[:, 3] != itemsize).any():
        raise ValueError("a chunk claims blocks or elements that it cannot have")
    # A mere copy follows the header; else the place of each block does.
    copied = head[:, 2] & _BLOSC_COPIED != 0
    places = np.where(copied, unpacked, 4 * -(-unpacked // np.maximum(block, 1)))
    if (_BLOSC_HEADER + places > packed).any():
        raise ValueError("a chunk claims more blocks than it has")


def _multiscale(name: str, *, channels: bool) -> dict[str, Any]:
    """Return one level, in pixels of the photograph, as OME-Zarr describes it."""
    axes = [{"name": axis, "type": "space"} for axis in "yx"]
    return {
        "name": name,
        "axes": [{"name": "c", "type": "channel"}, *axes] if channels else axes,
        "datasets": [
            {
                "path": "0",
                "coordinateTransformations": [
                    {"type": "scale", "scale": [1.0] * (3 if channels else 2)}
                ],
            }
        ],
    }


def _channel(title: str) -> dict[str, Any]:
    window = {"start": 0.0, "end": 1.0, "min": 0.0, "max": 1.0}
    return {"label": title, "color": "FFFFFF", "window": window, "active": True}
