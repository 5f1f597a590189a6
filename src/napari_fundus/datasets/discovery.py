"""Which data set a folder is: the readers of all plugins, and the choice between them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from napari_fundus.datasets.base import Dataset
from napari_fundus.datasets.coco import CocoDataset
from napari_fundus.datasets.corrections import Corrections
from napari_fundus.datasets.ddr import Ddr
from napari_fundus.datasets.diaretdb1 import Diaretdb1Drawings, Diaretdb1Maps
from napari_fundus.datasets.eophtha import Eophtha
from napari_fundus.datasets.fgadr import Fgadr
from napari_fundus.datasets.folder import FolderDataset
from napari_fundus.datasets.graded import Aptos2019, EyePacs, Messidor2
from napari_fundus.datasets.hei_med import HeiMed
from napari_fundus.datasets.idrid import Idrid
from napari_fundus.datasets.left_out import (
    unread_annotations,
    unread_datasets,
    unread_images,
    unread_roots,
    unread_twins,
)
from napari_fundus.datasets.maples_dr import MaplesDr
from napari_fundus.datasets.retinal_lesions import RetinalLesions
from napari_fundus.datasets.roc import Roc
from napari_fundus.datasets.several_roots import all_roots, open_roots
from napari_fundus.datasets.tjdr import Tjdr
from napari_fundus.datasets.vessel_sets import Fives, Reta
from napari_fundus.datasets.via import ViaDataset
from napari_fundus.errors import DatasetError, FundusError
from napari_fundus.plugin_hooks import (
    OWN_DISTRIBUTION,
    Contributions,
    check_class,
    collect,
    hookimpl,
)
from napari_fundus.runtime.text import describe_error

Reader = type[Dataset]


@hookimpl
def napari_fundus_datasets() -> list[Reader]:
    """Return the readers of this package."""
    return [
        Corrections,
        Idrid,
        Eophtha,
        Roc,
        Diaretdb1Drawings,
        Diaretdb1Maps,
        Ddr,
        Fgadr,
        Tjdr,
        MaplesDr,
        RetinalLesions,
        HeiMed,
        Fives,
        Reta,
        Messidor2,
        Aptos2019,
        EyePacs,
        ViaDataset,
        CocoDataset,
        FolderDataset,
    ]


def discover_datasets(
    entry_points: Iterable[metadata.EntryPoint] | None = None,
) -> Contributions[Reader]:
    """Load the readers of every plugin; see `napari_fundus.plugin_hooks.collect`."""
    return collect(
        "napari_fundus_datasets",
        _accept,
        built_in=sys.modules[__name__],
        entry_points=entry_points,
    )


def _accept(candidate: Any) -> Reader:
    """Return a class that fulfils the contract, or raise TypeError."""
    text = ("title", "layout", "reference", "licence")
    check_class(candidate, Dataset, required=("title", "layout"), text=text, signs="_-.")
    reader: Reader = candidate
    return reader


@lru_cache(maxsize=1)
def find_datasets() -> Contributions[Reader]:
    """Return the readers of all installed plugins, and the problems; looked for once a process."""
    return discover_datasets()


def dataset_classes() -> tuple[Reader, ...]:
    """Return all readers, the specific ones before that of the plain folder."""
    readers = find_datasets().items.values()
    return (*(reader for reader in readers if reader is not FolderDataset), FolderDataset)


def recognized(folder: Path) -> Iterator[tuple[Reader, Path]]:
    """Yield each reader that recognizes `folder`, but that of the plain folder, with the root.

    A reader that fails is left out with a warning.
    """
    for reader in dataset_classes()[:-1]:
        try:
            root = _call(reader, reader.recognize, folder, Path | None)
        except DatasetError as error:
            warnings.warn(str(error), stacklevel=2)
            continue
        if root is not None:
            yield reader, root


def _call(reader: Reader, function: Callable[[Path], Any], folder: Path, returns: Any) -> Any:
    """Call a function of a reader; any error of a plugin's reader becomes a DatasetError."""
    source = find_datasets().sources[reader.name]
    if source == OWN_DISTRIBUTION:
        return function(folder)
    try:
        result = function(folder)
        if not isinstance(result, returns):
            raise TypeError(f"{function.__name__} returned {type(result).__name__}")
    except (FundusError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise DatasetError(
            f"The reader {reader.name!r} of {source} failed on {folder}: "
            f"{type(error).__name__}: {describe_error(error)}"
        ) from error
    return result


def open_dataset(
    path: str | Path, name: str | None = None, *, class_attribute: str | None = None
) -> Dataset:
    """Open a data set, recognized by its content, whatever its folder is called.

    Parameters
    ----------
    path
        The folder of the original distribution, one a level or two around it, or one inside it.
        Where several roots of one data set lie below it, all are read as one.
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
    reader, roots, others = _named(folder, name) if name is not None else _detect(folder)
    recognize = _recognizer(reader, by_name=name is not None)

    def read(root: Path) -> Dataset:
        if reader is ViaDataset:
            return ViaDataset.open(root, class_attribute=class_attribute)
        dataset: Dataset = _call(reader, reader.open, root, Dataset)
        return dataset

    dataset = open_roots(reader, folder, roots, read)
    dataset.problems += (
        *unread_roots(dataset, recognize, roots),
        *unread_datasets(dataset, others),
        *unread_images(dataset, folder),
        *unread_twins(dataset),
        *unread_annotations(dataset),
    )
    return dataset


_Root = tuple[Reader, Path]


def _recognizer(reader: Reader, *, by_name: bool = False) -> Callable[[Path], Path | None]:
    function = reader.recognize_by_name if by_name else reader.recognize

    def recognize(folder: Path) -> Path | None:
        root: Path | None = _call(reader, function, folder, Path | None)
        return root

    return recognize


def _named(folder: Path, name: str) -> tuple[Reader, list[Path], list[_Root]]:
    readers = {reader.name: reader for reader in dataset_classes()}
    reader = readers.get(name.casefold())
    if reader is None:
        raise DatasetError(
            f"No data set is called {name!r}; there are: {', '.join(readers)}.{_left_out(' ')}"
        )
    roots = all_roots(folder, _recognizer(reader, by_name=True))
    if not roots:
        raise DatasetError(f"{folder} is not {reader.title}. Looked for: {reader.layout}.")
    return reader, roots, []


def _detect(folder: Path) -> tuple[Reader, list[Path], list[_Root]]:
    """Return the reader, its roots, and the other data sets that were recognized."""
    candidates = list(recognized(folder))
    found = [
        (reader, root)
        for reader, _ in candidates
        for root in all_roots(folder, _recognizer(reader))
    ]
    around = [(reader, root) for reader, root in found if folder.is_relative_to(root)]
    if around:
        # The innermost root around the folder is what it is a part of.
        chosen, root = max(around, key=lambda pair: len(pair[1].parts))
        return chosen, [root], [pair for pair in found if pair[0] is not chosen]
    outermost = [
        (reader, root)
        for reader, root in found
        if not any(root != other and root.is_relative_to(other) for _, other in found)
    ]
    if outermost:
        chosen = outermost[0][0]
        roots = [root for reader, root in outermost if reader is chosen]
        if {root for _, root in outermost} != set(roots):
            listed = "; ".join(f"{reader.name} in {root}" for reader, root in outermost)
            raise DatasetError(f"{folder} holds several data sets: {listed}. Open one of them.")
        return chosen, roots, [pair for pair in found if pair[0] is not chosen]
    if FolderDataset.recognize(folder) is not None:
        return FolderDataset, [folder], []
    known = "\n".join(f"  {reader.title}: {reader.layout}" for reader in dataset_classes())
    raise DatasetError(
        f"{folder} holds no image and no known data set. Looked for:\n{known}{_left_out()}"
    )


def _left_out(before: str = "\n") -> str:
    """Return the plugins that could not be used, for the end of a message."""
    return "".join(f"{before}{problem}" for problem in find_datasets().problems)
