"""The images that benchmarks measure on: IDRiD's 54 with lesions drawn, and 80 healthy ones."""

from __future__ import annotations

from pathlib import Path

from napari_fundus.datasets import Sample, open_dataset
from napari_fundus.lesions import DR_LESIONS

__all__ = ["healthy_samples", "lesion_samples"]


def lesion_samples(data: Path) -> list[Sample]:
    """Return the training images of IDRiD's part A, in `data` / ``idrid``."""
    dataset = open_dataset(data / "idrid")
    return [s for s in dataset.select(annotated="MA", split="train") if s.truths]


def healthy_samples(data: Path) -> list[Sample]:
    """Return the images of grade 0 in full size, in `data` / ``idrid_healthy_fullres``.

    Grade 0 is "no apparent retinopathy": no lesion of any of the four classes was seen, so all
    count as annotated and empty.
    """
    folder = data / "idrid_healthy_fullres"
    return [
        Sample(f"healthy/{path.stem}", path, annotated=frozenset(map(str, DR_LESIONS)))
        for path in sorted(folder.glob("*.jpg"))
    ]
