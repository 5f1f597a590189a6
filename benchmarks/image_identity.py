"""How surely photographs are told by their perceptual hash: copies found, others taken for copies.

Run ``python -m benchmarks.image_identity [--data FOLDER] [--copies 40]``. The folder holds
``idrid`` and ``other_camera``. Copies are made of some photographs, evenly spread; all photographs
are compared with each other, pairs of one eye (``same_eye_groups.txt``) apart from the rest.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from napari_fundus.datasets import open_dataset
from napari_fundus.image import read_image
from napari_fundus.image_identity import MAX_DISTANCE, hash_distance, perceptual_hash

Pixels = npt.NDArray[np.uint8]


def _resized(pixels: Pixels, scale: float) -> Pixels:
    return np.asarray(
        cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
    )


def _jpeg(pixels: Pixels, quality: int) -> Pixels:
    _, coded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


COPIES: Mapping[str, Callable[[Pixels], Pixels]] = {
    "1/2": lambda pixels: _resized(pixels, 1 / 2),
    "1/4": lambda pixels: _resized(pixels, 1 / 4),
    "JPEG 90": lambda pixels: _jpeg(pixels, 90),
    "JPEG 75": lambda pixels: _jpeg(pixels, 75),
    "1/4, JPEG 75": lambda pixels: _jpeg(_resized(pixels, 1 / 4), 75),
    "border of 100 px": lambda pixels: np.pad(pixels, ((100, 100), (100, 100), (0, 0))),
}


def main() -> None:
    """Hash all, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--copies", type=int, default=40, help="photographs that are copied")
    chosen = parser.parse_args()
    paths, groups = _photographs(chosen.data)
    copied = set(np.linspace(0, len(paths) - 1, chosen.copies).round().astype(int).tolist())
    hashes: list[str] = []
    distances: dict[str, list[int]] = {name: [] for name in COPIES}
    for index, path in enumerate(paths):
        pixels = read_image(path).rgb8
        hashes.append(perceptual_hash(pixels))
        for name, copy in COPIES.items() if index in copied else ():
            distances[name].append(hash_distance(hashes[-1], perceptual_hash(copy(pixels))))
    print(f"{len(paths)} photographs; a copy differs in at most {MAX_DISTANCE} of 256 bits\n")
    print("| copies | of | found | median bits | most bits |")
    print("|---|---|---|---|---|")
    for name, values in distances.items():
        found = np.mean(np.array(values) <= MAX_DISTANCE)
        print(f"| {name} | {len(values)} | {found:.1%} | {np.median(values):.0f} | {max(values)} |")
    pairs: dict[bool, list[int]] = {True: [], False: []}
    for one, other in combinations(range(len(paths)), 2):
        same_eye = groups[one] is not None and groups[one] == groups[other]
        pairs[same_eye].append(hash_distance(hashes[one], hashes[other]))
    print("\n| pairs | of | taken for copies | median bits | least bits |")
    print("|---|---|---|---|---|")
    for same_eye, name in ((False, "different eyes"), (True, "shots of one eye")):
        values = pairs[same_eye]
        taken = int((np.array(values) <= MAX_DISTANCE).sum())
        print(f"| {name} | {len(values)} | {taken} | {np.median(values):.0f} | {min(values)} |")


def _photographs(data: Path) -> tuple[list[Path], list[str | None]]:
    """Return all files, and the group of each: what shows one eye."""
    samples = list(open_dataset(data / "idrid"))
    others = sorted((data / "other_camera").rglob("*.jpg"))
    paths = [sample.image_path for sample in samples] + others
    return paths, [sample.group for sample in samples] + [None] * len(others)


if __name__ == "__main__":
    main()
