"""What a data set is: samples read lazily, their truth rasterized on demand, and a report."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, overload

import numpy as np
import numpy.typing as npt

from napari_fundus.datasets.masks import read_region
from napari_fundus.errors import DatasetError
from napari_fundus.image import FundusImage, read_identity, read_image
from napari_fundus.image_identity import ImageIdentity
from napari_fundus.landmarks import Fovea, Landmarks, OpticDisc, disc_of_mask
from napari_fundus.lesions import Lesion
from napari_fundus.results.objects import LesionObject, objects_of_mask


class Truth(ABC):
    """What the experts drew of one class in one image, whatever its form.

    Subclasses hold a mask file, points with radii, shapes, or several experts' drawings.

    Attributes
    ----------
    instance_level
        Whether each lesion was drawn by itself, so that touching ones are known to be two.
    """

    instance_level: ClassVar[bool] = False

    @abstractmethod
    def mask(self, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Rasterize: bool array of the image's `shape` (height, width)."""

    @abstractmethod
    def count(self, shape: tuple[int, int]) -> int:
        """Return the number of lesions (8-connected components, points or shapes)."""

    def objects(self, lesion: str, shape: tuple[int, int]) -> list[LesionObject]:
        """Return the lesions one by one, with score 1, where they lie within the image.

        They are the 8-connected components of the mask, unless each was drawn by itself.
        """
        return objects_of_mask(self.mask(shape), lesion=lesion)

    def count_outside(self, shape: tuple[int, int]) -> int:
        """Return how many points or shapes lie wholly outside the image; they are left out."""
        return 0


@dataclass(frozen=True)
class Problem:
    """Something missing or odd in a data set.

    Attributes
    ----------
    path
        The file or folder in question, relative to the data set's root where possible.
    message
        What is wrong, for people.
    """

    path: str
    message: str


@dataclass(frozen=True, eq=False)
class Sample:
    """One image of a data set, with all that is known of it; nothing is read until asked for.

    Attributes
    ----------
    id
        Unique within the data set, e.g. ``"segmentation/IDRiD_01"``.
    image_path
        The image's file.
    split
        ``"train"``, ``"valid"``, ``"test"`` or None where the set has no splits.
    annotated
        The classes that experts looked for in this image. A class that is not among them may be
        present all the same: absence of annotation is not absence of lesions.
    truths
        Class code to what was drawn. A class in `annotated` without an entry here was looked for
        and not found.
    grades
        ``"dr"`` (0 to 4), ``"dme"`` (0 to 2), ``"gradable"`` (0 or 1) where known.
    centres
        ``"OD"`` and ``"FOVEA"`` to (row, column) in pixels, where known.
    field_of_view_path
        Mask of the disc, where the data set has one.
    region_path
        Mask of the part that experts looked at; None where they looked everywhere. Outside it
        nothing is known, of any class.
    group
        Images of one group show the same eye and must never be separated by a split.
    """

    id: str
    image_path: Path
    split: str | None = None
    annotated: frozenset[str] = frozenset()
    truths: Mapping[str, Truth] = field(default_factory=dict)
    grades: Mapping[str, int] = field(default_factory=dict)
    centres: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    field_of_view_path: Path | None = None
    group: str | None = None
    region_path: Path | None = None

    def image(self) -> FundusImage:
        """Read the image, with its field of view where the data set gives one.

        Raises
        ------
        ImageReadError
            The image or the mask of its field of view cannot be read.
        DatasetError
            The mask of its field of view has another size.
        """
        image = read_image(self.image_path)
        if self.field_of_view_path is None:
            return image
        disc = read_region(self.field_of_view_path, image.shape)
        return replace(image, given_field_of_view=disc)

    def identity(self) -> ImageIdentity:
        """Return which photograph this is by its content; its file is read once.

        Raises
        ------
        OSError, ImageReadError
            The image cannot be read.
        """
        return read_identity(self.image_path)

    def mask(self, lesion: str, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Return the true mask of a class.

        Parameters
        ----------
        lesion
            Class code.
        shape
            Height and width of the image.

        Raises
        ------
        DatasetError
            The class was not annotated in this image.
        """
        truth = self._truth(lesion)
        return np.zeros(shape, np.bool_) if truth is None else truth.mask(shape)

    def objects(self, lesion: str, shape: tuple[int, int]) -> list[LesionObject]:
        """Return the true lesions of a class one by one, as far as they lie within the image.

        Lesions that were drawn by themselves (COCO, VIA, points) stay apart where they touch; of a
        mask they are the 8-connected components.

        Parameters
        ----------
        lesion
            Class code.
        shape
            Height and width of the image.

        Raises
        ------
        DatasetError
            The class was not annotated in this image.
        """
        truth = self._truth(lesion)
        return [] if truth is None else truth.objects(lesion, shape)

    def _truth(self, lesion: str) -> Truth | None:
        if lesion not in self.annotated:
            raise DatasetError(
                f"{lesion} is not annotated in {self.id}: that says nothing about whether it is "
                f"there. Annotated: {', '.join(sorted(self.annotated)) or 'none'}."
            )
        return self.truths.get(lesion)

    def region(self, shape: tuple[int, int]) -> npt.NDArray[np.bool_] | None:
        """Return the part that experts looked at: bool, of the image's `shape`; None for all of it.

        Raises
        ------
        DatasetError, ImageReadError
            Its mask cannot be read, or has another size.
        """
        return None if self.region_path is None else read_region(self.region_path, shape)

    def landmarks(self, shape: tuple[int, int]) -> Landmarks:
        """Return the optic disc and the fovea, as far as the data set gives them.

        Centres as given come before those of masks; the disc's diameter is that of its mask.

        Parameters
        ----------
        shape
            Height and width of the image.

        Raises
        ------
        DatasetError, ImageReadError
            A mask cannot be read.
        """
        drawn = {
            code: disc_of_mask(self.truths[code].mask(shape))
            for code in (Lesion.OD, Lesion.FOVEA)
            if code in self.truths and (code == Lesion.OD or code not in self.centres)
        }
        disc, macula = drawn.get(Lesion.OD), drawn.get(Lesion.FOVEA)
        if Lesion.OD in self.centres:
            row, col = self.centres[Lesion.OD]
            disc = OpticDisc(row=row, col=col, diameter=disc.diameter if disc else None)
        if Lesion.FOVEA in self.centres:
            row, col = self.centres[Lesion.FOVEA]
            return Landmarks(disc=disc, fovea=Fovea(row=row, col=col))
        fovea = None if macula is None else Fovea(row=macula.row, col=macula.col)
        return Landmarks(disc=disc, fovea=fovea)


class Dataset(Sequence[Sample]):
    """A data set as distributed: a sequence of samples, and what is missing.

    Attributes
    ----------
    name, title, reference, licence
        Stable id, full name, who made it, and under which terms.
    layout
        What a folder must hold to be recognized, for people.
    root, samples
        The folder, and all samples, sorted by id.
    problems
        What is missing or odd, by name.
    parts
        The folders that hold all its files: the root, or several below it.
    reads_parts
        Whether :meth:`open` reads all below a folder; else `open_dataset` joins several roots.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    reference: ClassVar[str] = ""
    licence: ClassVar[str] = ""
    layout: ClassVar[str] = ""
    reads_parts: ClassVar[bool] = False

    def __init__(
        self, root: Path, samples: Sequence[Sample], problems: Sequence[Problem] = ()
    ) -> None:
        self.root = root
        self.samples = tuple(samples)
        self.problems = tuple(problems)
        self.parts: tuple[Path, ...] = (root,)

    @classmethod
    @abstractmethod
    def recognize(cls, folder: Path) -> Path | None:
        """Return the root if `folder` is one or lies in one, else None; looks at names only."""

    @classmethod
    def recognize_by_name(cls, folder: Path) -> Path | None:
        """Return the root as :meth:`recognize`, where a person says that it is this data set."""
        return cls.recognize(folder)

    @classmethod
    @abstractmethod
    def open(cls, root: Path) -> Dataset:
        """Read the lists and annotations below `root`, but no image."""

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        return self.samples[index]

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    @property
    def splits(self) -> dict[str, int]:
        """Number of samples by split; ``"all"`` where the set has none."""
        return dict(Counter(sample.split or "all" for sample in self.samples))

    def select(
        self,
        *,
        split: str | None = None,
        annotated: str | None = None,
        where: Callable[[Sample], Any] | None = None,
    ) -> list[Sample]:
        """Return the samples of a split, with a class annotated, or that fulfil a condition."""
        return [
            sample
            for sample in self.samples
            if (split is None or sample.split == split)
            and (annotated is None or annotated in sample.annotated)
            and (where is None or where(sample))
        ]
