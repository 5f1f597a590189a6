"""The images of a voting training: which, in which part, prepared and held as bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from napari_fundus.backends.voting.planes import GREY
from napari_fundus.datasets import Dataset, Sample
from napari_fundus.errors import TrainingError
from napari_fundus.lesions import Lesion
from napari_fundus.monitor import Monitor
from napari_fundus.preprocessing import Recipe
from napari_fundus.training.folds import hold_back
from napari_fundus.training.settings import TrainingSettings
from napari_fundus.training.store import PatchStore, StoredImage, pack_masks

__all__ = ["Parts", "Tiles", "divide", "fill_store", "tiles_of"]


@dataclass(frozen=True)
class Parts:
    """The samples of both parts.

    Attributes
    ----------
    train, validation
        With microaneurysms annotated.
    healthy
        Without any sign of disease; they go with the training.
    """

    train: list[Sample]
    validation: list[Sample]
    healthy: list[Sample]


@dataclass(frozen=True, eq=False)
class Tiles:
    """Places of validation tiles.

    Attributes
    ----------
    images, rows, cols
        Index of the image, first row and column: int64, shape (N,).
    weights
        How many tiles each stands for: float32, shape (N,).
    """

    images: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    cols: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]


def divide(
    data: Dataset, healthy: Dataset | None, settings: TrainingSettings, recipe: Recipe
) -> Parts:
    """Choose the samples, and hold some back; the data set's own testing part is never used.

    Healthy images are those of grade 0 in `data` that need not be enlarged, and all of `healthy`.
    One that shows an eye of the validation part, as far as names and groups tell, is left out.

    Raises
    ------
    TrainingError
        Microaneurysms are annotated in no image, or in too few to divide.
    """
    known = [s for s in data if Lesion.MA in s.annotated and s.split != "test"]
    if not known:
        raise TrainingError(
            f"{data.root} has no image in which microaneurysms are annotated: nothing to train on."
        )
    validation = [s for s in known if s.split == "valid"]
    train = [s for s in known if s.split != "valid"]
    if not validation:
        train, validation = hold_back(known, settings.validation_share, seed=settings.seed)
    held = {s.group for s in validation} - {None}
    graded = [
        s
        for s in data
        if s.grades.get("dr") == 0 and Lesion.MA not in s.annotated and s.split != "test"
    ]
    groups = {s.image_path.name: s.group for s in graded}
    given = [
        replace(s, id=f"healthy/{s.id}", group=s.group or groups.get(s.image_path.name))
        for s in healthy or ()
        if Lesion.MA not in s.truths
    ]
    taken = {s.image_path.name for s in given}
    own = [
        s
        for s in graded
        if s.image_path.name not in taken and _longer_side(s.image_path) >= recipe.disc_diameter
    ]
    clean = [
        replace(s, annotated=frozenset({Lesion.MA}), truths={})
        for s in (*own, *given)
        if s.group not in held
    ]
    return Parts(train, validation, clean)


def fill_store(
    samples: Sequence[Sample], recipe: Recipe, patch: int, monitor: Monitor
) -> PatchStore:
    """Prepare the samples, and hold them in memory.

    Raises
    ------
    FundusError
        An image or a mask cannot be read, or shows no disc.
    """
    stored = [_stored(s, recipe) for s in monitor.track(samples, message="preparing the images")]
    return PatchStore(stored, [Lesion.MA], least_side=patch)


def tiles_of(store: PatchStore, patch: int, limit: int, *, seed: int) -> Tiles:
    """Return tiles side by side: all with a lesion, and `limit` of the others (0: all).

    Those drawn count for those left out, so that figures are those of whole images on average. A
    rim narrower than a tile, at the bottom and right, is left out.
    """
    places = np.array(list(_places(store, patch)), np.int64).reshape(-1, 4)
    with_lesion, others = places[places[:, 3] == 1], places[places[:, 3] == 0]
    weight = 1.0
    if 0 < limit < len(others):
        weight = len(others) / limit
        chosen = np.random.default_rng(seed).choice(len(others), limit, replace=False)
        others = others[np.sort(chosen)]
    both = np.concatenate([with_lesion, others])
    weights = np.repeat(np.array([1, weight], np.float32), [len(with_lesion), len(others)])
    return Tiles(both[:, 0], both[:, 1], both[:, 2], weights)


def _places(store: PatchStore, patch: int) -> Iterator[tuple[int, int, int, bool]]:
    for index, image in enumerate(store):
        height, width = image.bits.shape
        for row in range(0, height - patch + 1, patch):
            for col in range(0, width - patch + 1, patch):
                window = np.s_[row : row + patch, col : col + patch]
                if image.field_of_view[window].any():
                    yield index, row, col, bool(image.bits[window].any())


def _stored(sample: Sample, recipe: Recipe) -> StoredImage:
    image = sample.image()
    prepared = recipe.apply(image)
    inside = prepared.field_of_view
    pixels = np.ascontiguousarray(np.atleast_3d(prepared.pixels))
    # What becomes 0 as the network's input, as in detection.
    pixels[~inside] = GREY
    mask = prepared.geometry.forward_mask(sample.mask(Lesion.MA, image.shape))
    truth = sample.truths.get(Lesion.MA)
    return StoredImage(
        id=sample.id,
        group=sample.group or "",
        pixels=pixels,
        bits=pack_masks([mask & inside]),
        field_of_view=inside,
        annotated=np.array([True]),
        lesions={str(Lesion.MA): 0 if truth is None else truth.count(image.shape)},
    )


def _longer_side(path: Path) -> int:
    """Return the image's longer side from its header; 0 where that cannot be told."""
    try:
        with Image.open(path) as file:
            return max(file.size)
    except (OSError, UnidentifiedImageError):
        return 0
