"""The images of a classifier's training: which, in which part, prepared and held as bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from napari_fundus.backends.cam.network_input import quantize_input
from napari_fundus.datasets import Dataset, Sample
from napari_fundus.errors import OptionsError, TrainingError
from napari_fundus.image_identity import ImageIdentity
from napari_fundus.lesions import DR_LESIONS
from napari_fundus.preprocessing import Recipe
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training.loop.settings import TrainingSettings
from napari_fundus.training.patches.folds import split_train_validation

_IN_MEMORY = 4 << 30
"""Bytes beyond which the images are held in a temporary file, which the system caches."""


@dataclass(frozen=True, eq=False)
class GradedImages:
    """Prepared images of one part.

    Attributes
    ----------
    samples
        Where they come from, N of them.
    pixels
        uint8, shape (N, side, side, 3).
    grades
        0 to 4: int64, shape (N,).
    identities
        The photographs by content, N of them.
    """

    samples: Sequence[Sample]
    pixels: npt.NDArray[np.uint8]
    grades: npt.NDArray[np.int64]
    identities: Sequence[ImageIdentity]


def split_graded_samples(
    data: Dataset,
    healthy: Dataset | None,
    settings: TrainingSettings,
    *,
    hold_back_drawn: bool = False,
) -> tuple[list[Sample], list[Sample]]:
    """Return the samples of training and validation; the testing part is never used.

    Images of one eye stay together. Those of `healthy` have grade 0 and go with the training; what
    bears the name of an image of `data` is that image again, and left out.

    Raises
    ------
    TrainingError
        No image has a grade, or there are too few to divide.
    OptionsError
        Eyes with drawn lesions are to be held back in each fold of a cross-validation.
    """
    known = [s for s in data if "dr" in s.grades and s.grades.get("gradable", 1)]
    known = [s for s in known if s.split != "test"]
    if not known:
        raise TrainingError(
            f"{data.root} has no image with a grade of retinopathy: nothing to train on."
        )
    drawn = _annotated_eyes(data) if hold_back_drawn else set()
    if drawn and settings.folds:
        raise OptionsError("Drawn eyes cannot be held back in every fold: leave out one of both.")
    aside = [s for s in known if s.id in drawn or s.group in drawn]
    train, validation = split_train_validation([s for s in known if s not in aside], settings)
    validation = sorted([*validation, *aside], key=lambda s: s.id)
    held = {s.group for s in validation} - {None}
    names = {s.image_path.name for s in data}
    clean = [
        replace(s, id=f"healthy/{s.id}", grades={"dr": 0})
        for s in healthy or ()
        if s.image_path.name not in names and s.group not in held and not s.grades.get("dr")
    ]
    return [*train, *clean], validation


def _annotated_eyes(data: Dataset) -> set[str]:
    """Return ids and groups of the samples in which an expert drew lesions."""
    drawn = [s for s in data if set(DR_LESIONS) & set(s.annotated)]
    return {s.id for s in drawn} | {s.group for s in drawn if s.group is not None}


def load_graded_images(samples: Sequence[Sample], recipe: Recipe, monitor: Monitor) -> GradedImages:
    """Prepare the samples, and hold them in memory, or in a temporary file where they are many.

    Raises
    ------
    FundusError
        An image cannot be read, or shows no disc.
    """
    shape = (len(samples), recipe.side, recipe.side, 3)
    size = int(np.prod(shape))
    pixels: npt.NDArray[np.uint8]
    if size > _IN_MEMORY:
        with tempfile.TemporaryFile() as file:
            pixels = np.memmap(file, np.uint8, "w+", shape=shape)
    else:
        pixels = np.empty(shape, np.uint8)
    identities = []
    for index, sample in enumerate(monitor.track(samples, message="preparing the images")):
        image = sample.image()
        identities.append(image.identity)
        pixels[index] = quantize_input(recipe.apply(image))
    grades = np.array([s.grades["dr"] for s in samples], np.int64)
    return GradedImages(tuple(samples), pixels, grades, tuple(identities))


def epoch_order(
    classes: npt.NDArray[np.int64], key: Sequence[int], *, oversample: bool
) -> npt.NDArray[np.int64]:
    """Return the images of an epoch in random order, a function of the arguments alone.

    Parameters
    ----------
    classes
        Of each image: int64, shape (N,).
    key
        Numbers that the order depends on.
    oversample
        Whether each class comes as often as the others: each of C classes about N/C times, none of
        its images twice before the others were there. Else each image comes once.

    Returns
    -------
    numpy.ndarray
        int64, shape (N,) or, oversampled, as near to it as equal shares allow.
    """
    rng = np.random.default_rng(tuple(key))
    if not oversample:
        return rng.permutation(len(classes))
    present = np.unique(classes)
    share = -(-len(classes) // len(present))
    parts = []
    for value in present:
        members = np.flatnonzero(classes == value)
        rounds = [rng.permutation(members) for _ in range(-(-share // len(members)))]
        parts.append(np.concatenate(rounds)[:share])
    return rng.permutation(np.concatenate(parts))
