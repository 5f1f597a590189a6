"""The reader: photographs and saved results become layers, a data set opens the browser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_fundus.errors import FundusError
from napari_fundus.gui.controls.preferences import sync_preferences
from napari_fundus.gui.layers.build import (
    detection_layers,
    image_layer,
    saved_label_layers,
    table_layers,
)
from napari_fundus.image import IMAGE_SUFFIXES, read_image
from napari_fundus.runtime.files import check_is_file

_LESION_FILES = (".csv", ".json", ".geojson")
"""Results without maps."""

Reader = Callable[[str | list[str]], list[Any]]


def get_reader(path: str | list[str]) -> Reader | None:
    """Return a function that reads `path`, or None where this is nothing for us.

    Volumes (TIFFs of several pages that this package has not written) are left to other readers,
    and so are TIFFs of whole numbers that no photograph has, such as labels that napari saved.
    """
    sync_preferences()
    paths = [Path(p) for p in ([path] if isinstance(path, str | Path) else path)]
    if len(paths) == 1 and paths[0].is_dir():
        from napari_fundus.export import is_zarr_result

        if is_zarr_result(paths[0]):
            return read_files
        return open_folder if _is_dataset(paths[0]) else None
    if all(_is_lesion_file(p) or _may_be_photograph(p) for p in paths):
        return read_files
    return None


def _is_dataset(folder: Path) -> bool:
    from napari_fundus.datasets.discovery import recognized
    from napari_fundus.datasets.folder import FolderDataset

    if folder.suffix.lower() in (".zarr", ".n5"):
        return False
    return any(recognized(folder)) or FolderDataset.recognize(folder) is not None


def _is_lesion_file(path: Path) -> bool:
    from napari_fundus.export import is_result_file

    return path.suffix.lower() in _LESION_FILES and is_result_file(path)


def _may_be_photograph(path: Path) -> bool:
    page = _tiff_page(path)
    other = page is not None and not page.ours and (page.count > 1 or page.labels)
    return path.suffix.lower() in IMAGE_SUFFIXES and not other


@dataclass(frozen=True)
class _TiffPage:
    """How many pages a TIFF has, whether this package wrote it, and whether it holds labels."""

    count: int
    ours: bool
    labels: bool


def _tiff_page(path: Path) -> _TiffPage | None:
    """Return what the first page of a TIFF tells; None for other files, and for damaged ones."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    import tifffile

    try:
        check_is_file(path)
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            kind = np.dtype(page.dtype)
            # Photographs have 8 or 16 bits without a sign, or fractions.
            labels = page.samplesperpixel == 1 and kind.kind in "iub"
            labels = labels and kind not in (np.uint8, np.uint16)
            ours = '"napari_fundus"' in (page.description or "")[:200]
            return _TiffPage(len(tiff.pages), ours, labels)
    except (OSError, tifffile.TiffFileError, TypeError, ValueError):
        return None


def read_files(path: str | list[str]) -> list[Any]:
    """Return the layers of one or several files.

    Raises
    ------
    ImageReadError
        A file is broken; the message says in which way.
    """
    layers: list[Any] = []
    for one in [path] if isinstance(path, str | Path) else path:
        layers += _result_layers(Path(one)) or [image_layer(read_image(one))]
    return layers


def _result_layers(path: Path) -> list[Any]:
    """Return the layers of a saved result, or nothing."""
    from napari_fundus.export import (
        read_csv,
        read_labels_tiff,
        read_probability_tiff,
        read_results,
        read_zarr,
    )

    if path.is_dir():
        return list(detection_layers(read_zarr(path)))
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return list(table_layers(read_csv(path), name=path.stem))
    if suffix in _LESION_FILES:
        result = read_results(path)
        return list(saved_label_layers(result.labels, result.provenance, result.instances))
    page = _tiff_page(path)
    if page is None or not page.ours:
        return []
    found = read_probability_tiff(path)
    if found.probability or found.heatmap:
        return list(detection_layers(found))
    return list(saved_label_layers(*read_labels_tiff(path)))


def open_folder(path: str | list[str]) -> list[Any]:
    """Open the browser for a data set's folder; it brings layers, one sample at a time."""
    import napari

    folder = Path(path if isinstance(path, str | Path) else path[0])
    viewer = napari.current_viewer()
    if viewer is None:
        raise FundusError(
            f"{folder} is a data set: its browser needs napari's window. In a script use "
            "napari_fundus.open_dataset instead."
        )
    _, widget = viewer.window.add_plugin_dock_widget("napari-fundus", "Data set browser")
    widget.open(folder)
    # napari's sign for "read, but there is no layer to add".
    return [(None,)]
