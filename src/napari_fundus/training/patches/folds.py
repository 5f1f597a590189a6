"""Training and validation parts, and cross-validation, by image and never across one eye."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from napari_fundus.datasets.base import Sample
from napari_fundus.datasets.splits import split_by_group
from napari_fundus.errors import ImageReadError, TrainingError
from napari_fundus.image_identity import ImageIdentity
from napari_fundus.training.loop.preflight import SampleSummary
from napari_fundus.training.loop.settings import TrainingSettings


def other_views(
    data: Iterable[Sample], train: Sequence[SampleSummary]
) -> tuple[ImageIdentity, ...]:
    """Return further photographs of the eyes that are trained on, as far as groups tell.

    What cannot be read is left out: nobody can evaluate on it either.
    """
    eyes, trained = {s.group for s in train} - {None}, {s.id for s in train}
    found = []
    for sample in data:
        if sample.group in eyes and sample.id not in trained:
            with suppress(OSError, ImageReadError):
                found.append(sample.identity().model_copy(update={"name": sample.id}))
    return tuple(found)


def split_holdout(
    samples: Sequence[Sample], share: float, *, seed: int = 0
) -> tuple[list[Sample], list[Sample]]:
    """Return training and validation part.

    Parameters
    ----------
    samples
        Images of a data set.
    share
        Of the images, for validation; however small, one image is held back.
    seed
        The same seed gives the same parts.

    Raises
    ------
    TrainingError
        There are too few groups for two parts that are not empty.
    """
    if share > 0 and samples:
        share = max(share, 1 / len(samples))
    train, validation = split_by_group(samples, (1 - share, share), seed=seed)
    if share > 0 and not (train and validation):
        if len(samples) == 1:
            raise TrainingError(
                "There is one image only, so none is left to validate on: give more images, or "
                "allow leakage, and its upper half is trained on, its lower half validated on."
            )
        raise TrainingError(
            f"{len(samples)} images, those of one eye kept together, cannot be divided with "
            f"{share:.0%} held back: give more images or another share."
        )
    return train, validation


def iterate_folds(
    samples: Sequence[Sample], count: int, *, seed: int = 0
) -> Iterator[tuple[list[Sample], list[Sample]]]:
    """Yield the training and the test part of each fold of a cross-validation.

    Every image is in just one test part; images of one eye are in the same.

    Parameters
    ----------
    samples
        Images of a data set.
    count
        Number of folds, 2 or more (the voting paper: 2).
    seed
        The same seed gives the same folds.

    Raises
    ------
    TrainingError
        There are fewer groups than folds.
    """
    if count < 2:
        raise TrainingError(f"A cross-validation has 2 or more folds, not {count}.")
    parts = split_by_group(samples, count, seed=seed)
    if not all(parts):
        raise TrainingError(
            f"{len(samples)} images, those of one eye kept together, do not fill {count} folds."
        )
    for number, test in enumerate(parts):
        rest = [sample for n, part in enumerate(parts) if n != number for sample in part]
        yield rest, test


def split_train_validation(
    samples: Sequence[Sample], settings: TrainingSettings
) -> tuple[list[Sample], list[Sample]]:
    """Return training and validation part: a fold, the data set's own part, or a share.

    Raises
    ------
    TrainingError
        There is no such fold, or there are too few images to divide.
    """
    if settings.folds:
        if settings.fold > settings.folds:
            raise TrainingError(f"There is no fold {settings.fold} of {settings.folds}.")
        return list(iterate_folds(samples, settings.folds, seed=settings.seed))[settings.fold - 1]
    validation = [s for s in samples if s.split == "valid"]
    if validation:
        return [s for s in samples if s.split != "valid"], validation
    return split_holdout(samples, settings.validation_share, seed=settings.seed)
