"""What the package did before some stages were made faster: kept to be measured beside them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import tifffile
import torch
from PIL import Image, ImageOps
from torch import nn

from napari_fundus.metrics import Froc
from napari_fundus.metrics.map_levels import QUANTIZATION_LEVELS, quantize_map
from napari_fundus.results.instances import INSTANCE_COLUMNS

__all__ = [
    "add_with_levels",
    "label_by_scan",
    "patches_with_all_cores",
    "read_with_copy",
    "write_all_tiles",
]

Float = npt.NDArray[np.float32]


def read_with_copy(path: Path) -> npt.NDArray[np.uint8]:
    """Read a photograph; turning upright copied it even where it stood upright."""
    return np.asarray(ImageOps.exif_transpose(Image.open(path)))


def label_by_scan(
    probability: Float, *, lesion: str, threshold: float, first_id: int
) -> tuple[npt.NDArray[np.int32], pd.DataFrame]:
    """Return labels and table of a map; OpenCV scanned the whole image for both."""
    mask = probability >= np.float32(threshold)
    count, found, stats, centroids = cv2.connectedComponentsWithStats(
        mask.view(np.uint8), connectivity=8, ltype=cv2.CV_32S
    )
    labels = np.asarray(found, np.int32)
    pixels = np.flatnonzero(mask)
    label_of_pixel = labels.ravel()[pixels]
    values = probability.ravel()[pixels]
    peak = np.zeros(count, np.float32)
    np.maximum.at(peak, label_of_pixel, values)
    left, top, width, height, area = np.asarray(stats, np.int64)[1:].T
    if first_id != 1:
        labels.ravel()[pixels] = label_of_pixel + (first_id - 1)
    table = pd.DataFrame(
        {
            "id": np.arange(first_id, first_id + count - 1),
            "lesion": np.full(count - 1, lesion, dtype=object),
            "score": peak[1:].astype(np.float64),
            "mean_probability": np.bincount(label_of_pixel, values, count)[1:] / area,
            "area_px": area,
            "equivalent_diameter_px": np.sqrt(4 * area / np.pi),
            "centroid_row": centroids[1:, 1],
            "centroid_col": centroids[1:, 0],
            "bbox_row_start": top,
            "bbox_col_start": left,
            "bbox_row_stop": top + height,
            "bbox_col_stop": left + width,
        }
    )
    return labels, table.astype(INSTANCE_COLUMNS)


def write_all_tiles(path: Path, pages: list[npt.NDArray[np.int32]]) -> None:
    """Write label images as TIFF; each tile was packed, those without a label too."""
    with tifffile.TiffWriter(path) as tiff:
        for page in pages:
            tiff.write(
                page,
                tile=(256, 256),
                photometric="minisblack",
                compression="zlib",
                compressionargs={"level": 1},
                predictor=2,
                metadata=None,
            )


def add_with_levels(froc: Froc, probability: Float, truth: npt.NDArray[np.bool_]) -> None:
    """Count an image for FROC; its levels were made before it was asked whether they are needed."""
    np.bincount(quantize_map(probability).ravel(), minlength=QUANTIZATION_LEVELS + 2)
    froc.add(probability, truth)


def patches_with_all_cores(
    network: nn.Module, picture: Float, centres: npt.NDArray[np.int64], *, patch: int, batch: int
) -> Float:
    """Run `network` over patches; all cores shared every layer of a batch."""
    half = patch // 2
    padded = torch.from_numpy(np.pad(picture, ((0, 0), (half, half), (half, half))))
    network = network.to(memory_format=torch.channels_last)
    found = []
    with torch.inference_mode():
        for start in range(0, len(centres), batch):
            places = centres[start : start + batch].tolist()
            patches = torch.stack([padded[:, r : r + patch, c : c + patch] for r, c in places])
            found.append(network(patches.contiguous(memory_format=torch.channels_last)))
    answers: Float = torch.cat(found).numpy()
    return answers
