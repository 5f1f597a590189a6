"""Data sets of fundus photographs, read in their original layouts.

Examples
--------
>>> from napari_fundus.samples import sample_folder
>>> data = open_dataset(sample_folder())
>>> [(sample.id, ", ".join(sorted(sample.annotated))) for sample in data]
[('IDRiD_13', 'EX, HE, MA, OD, SE')]
"""

from __future__ import annotations

from pathlib import Path

from napari_fundus.datasets.base import Dataset, Problem, Sample, Truth
from napari_fundus.datasets.coco import CocoDataset
from napari_fundus.datasets.corrections import Corrections, LesionVerdict, write_correction
from napari_fundus.datasets.ddr import Ddr
from napari_fundus.datasets.diaretdb1 import Diaretdb1Drawings, Diaretdb1Maps
from napari_fundus.datasets.eophtha import Eophtha
from napari_fundus.datasets.folder import FolderDataset
from napari_fundus.datasets.graded import Aptos2019, EyePacs, Messidor2
from napari_fundus.datasets.idrid import Idrid
from napari_fundus.datasets.roc import Roc
from napari_fundus.datasets.splits import split_by_group
from napari_fundus.datasets.summary import ClassSummary, DatasetSummary, summarize
from napari_fundus.datasets.via import ViaDataset
from napari_fundus.errors import DatasetError

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
    "open_dataset",
    "split_by_group",
    "summarize",
    "write_correction",
]

_DATASET_CLASSES: tuple[type[Dataset], ...] = (
    Corrections,
    Idrid,
    Eophtha,
    Roc,
    Diaretdb1Drawings,
    Diaretdb1Maps,
    Ddr,
    Messidor2,
    Aptos2019,
    EyePacs,
    ViaDataset,
    CocoDataset,
)


def dataset_classes() -> tuple[type[Dataset], ...]:
    """Return all readers, the specific ones before that of the plain folder."""
    return (*_DATASET_CLASSES, FolderDataset)


def open_dataset(
    path: str | Path, name: str | None = None, *, class_attribute: str | None = None
) -> Dataset:
    """Open a data set, told by its content, whatever its folder is called.

    Parameters
    ----------
    path
        The folder of the original distribution, one a level or two around it, or one inside it.
    name
        Which data set it is, where the content should not decide; see :func:`dataset_classes`.
    class_attribute
        For the VGG Image Annotator: the region attribute that holds the class.

    Raises
    ------
    DatasetError
        There is no such folder, it holds none of the data sets, or several.
    """
    given = Path(path).expanduser()
    if not given.exists():
        raise DatasetError(f"There is no folder {given}.")
    folder = given.resolve() if given.is_dir() else given.resolve().parent
    reader, root = _open_named(folder, name) if name is not None else _detect_dataset(folder)
    if reader is ViaDataset:
        return ViaDataset.open(root, class_attribute=class_attribute)
    return reader.open(root)


def _open_named(folder: Path, name: str) -> tuple[type[Dataset], Path]:
    readers = {reader.name: reader for reader in dataset_classes()}
    reader = readers.get(name.casefold())
    if reader is None:
        raise DatasetError(f"No data set is called {name!r}; there are: {', '.join(readers)}.")
    root = reader.accept(folder)
    if root is None:
        raise DatasetError(f"{folder} is not {reader.title}. Looked for: {reader.layout}.")
    return reader, root


def _detect_dataset(folder: Path) -> tuple[type[Dataset], Path]:
    found = [(r, root) for r in _DATASET_CLASSES if (root := r.recognize(folder)) is not None]
    here = [(reader, root) for reader, root in found if folder.is_relative_to(root)]
    if here:
        # The innermost root around the folder is what it is a part of.
        return max(here, key=lambda pair: len(pair[1].parts))
    outer = [
        (reader, root)
        for reader, root in found
        if not any(root != other and root.is_relative_to(other) for _, other in found)
    ]
    if len({root for _, root in outer}) > 1:
        listed = "; ".join(f"{reader.name} in {root}" for reader, root in outer)
        raise DatasetError(f"{folder} holds several data sets: {listed}. Open one of them.")
    if outer:
        return outer[0]
    if FolderDataset.recognize(folder) is not None:
        return FolderDataset, folder
    known = "\n".join(f"  {reader.title}: {reader.layout}" for reader in dataset_classes())
    raise DatasetError(f"{folder} holds no image and no data set known. Looked for:\n{known}")
