"""Data sets of fundus photographs, read in their original layouts.

Examples
--------
>>> from napari_fundus.samples import sample_folder
>>> data = open_dataset(sample_folder())
>>> [(sample.id, ", ".join(sorted(sample.annotated))) for sample in data]
[('IDRiD_13', 'EX, HE, MA, OD, SE')]
"""

from __future__ import annotations

from napari_fundus.datasets.base import Dataset, Problem, Sample, Truth
from napari_fundus.datasets.corrections import Corrections, LesionVerdict, write_correction
from napari_fundus.datasets.discovery import (
    dataset_classes,
    discover_datasets,
    find_datasets,
    open_dataset,
)
from napari_fundus.datasets.splits import split_by_group
from napari_fundus.datasets.summary import ClassSummary, DatasetSummary, summarize

__all__ = [
    "ClassSummary",
    "Corrections",
    "Dataset",
    "DatasetSummary",
    "LesionVerdict",
    "Problem",
    "Sample",
    "Truth",
    "dataset_classes",
    "discover_datasets",
    "find_datasets",
    "open_dataset",
    "split_by_group",
    "summarize",
    "write_correction",
]
