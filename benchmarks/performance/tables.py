"""The stages after the network: labels, table of lesions, FROC over a set, export."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import tifffile

from benchmarks.performance.baselines import add_with_levels, label_by_scan, write_all_tiles
from benchmarks.performance.machine_limits import LeastWork
from benchmarks.performance.sample_image import THRESHOLD, BenchmarkImage
from benchmarks.performance.stage import (
    BenchmarkStage,
    Peer,
    count_different_pixels,
    largest_difference,
)
from napari_fundus.export import write_coco, write_labels_tiff
from napari_fundus.metrics import Froc

__all__ = ["count_relabelled_pixels", "table_stages"]

Labels = npt.NDArray[np.int32]
Curve = npt.NDArray[np.float64]

_SQUARE = np.ones((3, 3))
_THRESHOLDS = np.arange(1, 32) / 32
"""Those of the Retinopathy Online Challenge; ours counts all there are."""


def table_stages(subject: BenchmarkImage, folder: Path) -> Iterator[BenchmarkStage]:
    """Yield the stages, to be run on what was found in `subject`; files go to `folder`."""
    yield _thresholding(subject)
    yield _instance_table(subject)
    yield _froc(subject)
    yield _coco(subject, folder)
    yield _label_tiff(subject, folder)


def _on(subject: BenchmarkImage) -> str:
    return f"{len(subject.found.lesions)} maps, {subject.size}"


def _maps(subject: BenchmarkImage) -> dict[str, npt.NDArray[np.float32]]:
    return dict(subject.found.probability)


def _threshold_before(subject: BenchmarkImage) -> tuple[list[Labels], pd.DataFrame]:
    labels, tables = [], []
    first_id = 1
    for code, values in _maps(subject).items():
        found, table = label_by_scan(values, lesion=code, threshold=THRESHOLD, first_id=first_id)
        first_id += len(table)
        labels.append(found)
        tables.append(table)
    return labels, pd.concat(tables, ignore_index=True)


def _thresholding(subject: BenchmarkImage) -> BenchmarkStage:
    maps = _maps(subject)

    def ours() -> list[Labels]:
        return list(subject.found.threshold(THRESHOLD).labels.values())

    def scipy() -> list[Labels]:
        from scipy.ndimage import label

        return [label(values >= THRESHOLD, _SQUARE)[0] for values in maps.values()]

    def opencv() -> list[Labels]:
        masks = [(values >= THRESHOLD).view(np.uint8) for values in maps.values()]
        return [np.asarray(cv2.connectedComponents(mask, connectivity=8)[1]) for mask in masks]

    return BenchmarkStage(
        "Thresholding to labels (ours: with the table)",
        _on(subject),
        ours,
        (
            Peer("scipy `ndimage.label`", scipy),
            Peer("OpenCV `connectedComponents`", opencv),
        ),
        count_relabelled_pixels,
        LeastWork(moved=sum(values.nbytes for values in maps.values())),
        before=lambda: _threshold_before(subject)[0],
    )


def count_relabelled_pixels(ours: list[Labels], theirs: list[Labels]) -> str:
    """Return how many pixels belong to other lesions, whatever number a lesion has."""
    apart = 0
    for one, other in zip(ours, theirs, strict=True):
        pixels = np.flatnonzero(one)
        if not np.array_equal(pixels, np.flatnonzero(other)):
            apart += int(np.count_nonzero((one > 0) != (other > 0)))
            continue
        pairs = np.stack([one.ravel()[pixels], other.ravel()[pixels]])
        kinds = np.unique(pairs, axis=1)
        split = [np.unique(side, return_counts=True) for side in kinds]
        doubtful = [values[counts > 1] for values, counts in split]
        apart += int((np.isin(pairs[0], doubtful[0]) | np.isin(pairs[1], doubtful[1])).sum())
    return f"{apart} px"


def _instance_table(subject: BenchmarkImage) -> BenchmarkStage:
    maps = _maps(subject)

    def ours() -> npt.NDArray[np.float64]:
        return _metrics(subject.found.threshold(THRESHOLD).instances)

    def skimage() -> npt.NDArray[np.float64]:
        from skimage.measure import label, regionprops_table

        tables = []
        for values in maps.values():
            labels = label(values >= THRESHOLD, connectivity=2)
            table = regionprops_table(
                labels,
                values,
                properties=("area", "intensity_max", "intensity_mean", "centroid", "bbox"),
            )
            tables.append(pd.DataFrame(table))
        together = pd.concat(tables)
        names = ["intensity_max", "intensity_mean", "area", "centroid-0", "centroid-1"]
        return _sorted(together[names + [f"bbox-{n}" for n in range(4)]].to_numpy(np.float64))

    def scipy() -> npt.NDArray[np.float64]:
        from scipy import ndimage

        rows = []
        for values in maps.values():
            labels, count = ndimage.label(values >= THRESHOLD, _SQUARE)
            ids = np.arange(1, count + 1)
            centres = np.array(ndimage.center_of_mass(labels > 0, labels, ids)).reshape(-1, 2)
            boxes = [
                (rows_.start, cols.start, rows_.stop, cols.stop)
                for rows_, cols in ndimage.find_objects(labels)
            ]
            rows.append(
                np.column_stack(
                    [
                        ndimage.maximum(values, labels, ids),
                        ndimage.mean(values, labels, ids),
                        np.bincount(labels.ravel(), minlength=count + 1)[1:],
                        centres,
                        np.array(boxes).reshape(-1, 4),
                    ]
                )
            )
        return _sorted(np.concatenate(rows))

    return BenchmarkStage(
        f"Table of {len(subject.found.instances)} lesions (with labels)",
        _on(subject),
        ours,
        (
            Peer("scikit-image `regionprops_table`", skimage),
            Peer("scipy `ndimage` measurements", scipy),
        ),
        largest_difference,
        LeastWork(moved=sum(values.nbytes for values in maps.values())),
        before=lambda: _metrics(_threshold_before(subject)[1]),
    )


def _metrics(table: pd.DataFrame) -> npt.NDArray[np.float64]:
    names = ["score", "mean_probability", "area_px", "centroid_row", "centroid_col"]
    boxes = [name for name in table if str(name).startswith("bbox")]
    return _sorted(table[names + boxes].to_numpy(np.float64))


def _sorted(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the rows by where the lesions are: the boxes' first pixels, then their areas."""
    return rows[np.lexsort((rows[:, 2], rows[:, 6], rows[:, 5]))]


def _froc(subject: BenchmarkImage) -> BenchmarkStage:
    maps, truth = _maps(subject), subject.truth
    images = [(maps[code], truth[code]) for code in maps if code in truth]
    peak = max(float(values.max()) for values, _ in images)

    def counted(add: Callable[[Froc, Any, Any], None]) -> Curve:
        froc = Froc(largest=1)
        for values, drawn in images:
            add(froc, values, drawn)
        curve = froc.curve(whole=True)
        # Thresholds fall; what is above one of them stays until the next one.
        at = len(curve.thresholds) - np.searchsorted(curve.thresholds[::-1], _THRESHOLDS, "right")
        at[peak <= _THRESHOLDS] = 0
        return np.stack([curve.sensitivity[at], curve.fpi[at]])

    def loop() -> Curve:
        hits, false, lesions = np.zeros(len(_THRESHOLDS)), np.zeros(len(_THRESHOLDS)), 0
        for values, drawn in images:
            count, numbers = cv2.connectedComponents(drawn.view(np.uint8), connectivity=8)
            lesions += count - 1
            for place, threshold in enumerate(_THRESHOLDS):
                above = values > threshold
                found, parts = cv2.connectedComponents(above.view(np.uint8), connectivity=8)
                touching = np.unique(parts[drawn])
                false[place] += found - 1 - np.count_nonzero(touching)
                hits[place] += np.count_nonzero(np.unique(numbers[above]))
        return np.stack([hits / lesions, false / len(images)])

    return BenchmarkStage(
        "FROC over a set (ours: at every threshold)",
        f"{len(images)} images, {subject.size}",
        lambda: counted(lambda froc, values, drawn: froc.add(values, drawn)),
        (Peer(f"loop over {len(_THRESHOLDS)} thresholds, OpenCV", loop),),
        largest_difference,
        LeastWork(moved=sum(values.nbytes + drawn.nbytes for values, drawn in images)),
        before=lambda: counted(add_with_levels),
    )


def _coco(subject: BenchmarkImage, folder: Path) -> BenchmarkStage:
    found = subject.found
    table = found.instances

    def ours() -> list[str]:
        path = folder / "ours.coco.json"
        write_coco(found, path, overwrite=True)
        content = json.loads(path.read_text(encoding="utf-8"))
        return [one["segmentation"]["counts"] for one in content["annotations"]]

    def pycocotools() -> list[str]:
        from pycocotools import mask as coco

        annotations = []
        for lesion, number in zip(table["lesion"], table["id"], strict=True):
            runs = coco.encode(np.asfortranarray(found.labels[lesion] == number, np.uint8))
            runs["counts"] = runs["counts"].decode()
            annotations.append(
                {
                    "id": int(number),
                    "segmentation": runs,
                    "bbox": coco.toBbox(runs).tolist(),
                    "area": int(coco.area(runs)),
                }
            )
        path = folder / "theirs.coco.json"
        path.write_text(json.dumps({"annotations": annotations}), encoding="utf-8")
        content = json.loads(path.read_text(encoding="utf-8"))
        return [one["segmentation"]["counts"] for one in content["annotations"]]

    sides = table["bbox_row_stop"] - table["bbox_row_start"]
    area = (sides * (table["bbox_col_stop"] - table["bbox_col_start"])).sum()
    return BenchmarkStage(
        f"Export: COCO, {len(table)} masks",
        subject.size,
        ours,
        (Peer("pycocotools `encode`, whole masks", pycocotools),),
        lambda one, other: f"{sum(a != b for a, b in zip(one, other, strict=True))} masks",
        LeastWork(moved=4.0 * float(area)),
    )


def _label_tiff(subject: BenchmarkImage, folder: Path) -> BenchmarkStage:
    found = subject.found
    pages = list(found.labels.values())

    def written(name: str, write: Callable[[Path], object]) -> Callable[[], Path]:
        def run() -> Path:
            write(folder / name)
            return folder / name

        return run

    return BenchmarkStage(
        "Export: label TIFF",
        f"{len(pages)} pages, {subject.size}",
        written("ours.tif", lambda path: write_labels_tiff(found, path, overwrite=True)),
        (
            Peer(
                "tifffile `imwrite`, zlib",
                written(
                    "theirs.tif",
                    lambda path: tifffile.imwrite(
                        path, np.stack(pages), compression="zlib", photometric="minisblack"
                    ),
                ),
            ),
        ),
        lambda one, other: count_different_pixels(tifffile.imread(one), tifffile.imread(other)),
        LeastWork(moved=sum(page.nbytes for page in pages)),
        before=written("before.tif", lambda path: write_all_tiles(path, pages)),
    )
