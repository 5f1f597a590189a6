"""The data of a training on patches: who is in which part, prepared and held as bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_fundus.datasets import Dataset, Sample
from napari_fundus.errors import Cancelled, TrainingError
from napari_fundus.image import PILLOW_ERRORS, open_pillow
from napari_fundus.lesions import DR_LESIONS, describe
from napari_fundus.preprocessing import Recipe
from napari_fundus.preprocessing.network_input import PIXEL_MEAN
from napari_fundus.results.objects import LesionObject
from napari_fundus.runtime.progress import Monitor
from napari_fundus.runtime.text import describe_error, printable
from napari_fundus.training.loop.settings import TrainingSettings
from napari_fundus.training.patches.drawn_objects import (
    components_match_objects,
    objects_to_working_scale,
)
from napari_fundus.training.patches.folds import split_train_validation
from napari_fundus.training.patches.store import PatchStore, StoredImage, pack_masks


@dataclass(frozen=True)
class TrainingSplit:
    """The samples of both parts.

    Attributes
    ----------
    train, validation
        With at least one of the classes annotated.
    healthy
        Without any sign of disease; they go with the training.
    single_image
        Whether there is but one image, which is in both parts and must be cut in two.
    """

    train: list[Sample]
    validation: list[Sample]
    healthy: list[Sample]
    single_image: bool = False


@dataclass(frozen=True, eq=False)
class ValidationTiles:
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


def split_samples(
    data: Dataset,
    healthy: Dataset | None,
    settings: TrainingSettings,
    recipe: Recipe,
    lesions: Sequence[str],
) -> TrainingSplit:
    """Choose the samples, and hold some back; the data set's own testing part is never used.

    Healthy images are those of grade 0 in `data` that need not be enlarged, and all of `healthy`:
    they are without lesion, though nobody drew them. One that shows an eye of the validation part,
    as far as names and groups tell, is left out.

    A single image is cut in two if leakage is allowed.

    Raises
    ------
    TrainingError
        None of the classes is annotated in any image, or in too few to divide.
    """
    wanted = frozenset(map(str, lesions))
    samples = [s for s in data if wanted & s.annotated and s.split != "test"]
    if not samples:
        names = " or ".join(describe(code).plural for code in lesions)
        raise TrainingError(
            f"{data.root} has no image in which {names} are annotated: nothing to train on."
        )
    single_image = len(samples) == 1 and settings.allow_leakage
    train, validation = samples, samples
    if not single_image:
        train, validation = split_train_validation(samples, settings)
    held = {s.group for s in validation} - {None}
    graded = [
        s
        for s in data
        if s.grades.get("dr") == 0 and not wanted & s.annotated and s.split != "test"
    ]
    groups = {s.image_path.name: s.group for s in graded}
    given = [
        replace(s, id=f"healthy/{s.id}", group=s.group or groups.get(s.image_path.name))
        for s in healthy or ()
        if not wanted & set(s.truths)
    ]
    taken = {s.image_path.name for s in given}
    own = [
        s
        for s in graded
        if s.image_path.name not in taken and _longer_side(s.image_path) >= recipe.disc_diameter
    ]
    absent = frozenset(wanted & set(DR_LESIONS))
    clean = [replace(s, annotated=absent, truths={}) for s in (*own, *given) if s.group not in held]
    return TrainingSplit(train, validation, clean, single_image)


def annotated_classes(data: Dataset, usual: Sequence[str]) -> tuple[str, ...]:
    """Return the classes to train: those of the usual ones that are drawn somewhere.

    Raises
    ------
    TrainingError
        None of them is.
    """
    drawn = {str(code) for s in data if s.split != "test" for code in s.truths}
    found = tuple(str(code) for code in usual if code in drawn)
    if not found:
        raise TrainingError(
            f"{data.root} has none of the classes {', '.join(usual)} drawn in any image: name the "
            "classes to train on."
        )
    return found


def load_patch_store(
    samples: Sequence[Sample],
    recipe: Recipe,
    patch: int,
    lesions: Sequence[str],
    monitor: Monitor,
    *,
    reach: int | None = None,
    left_out: dict[int, str] | None = None,
) -> PatchStore:
    """Prepare the samples, and hold them in memory.

    Parameters
    ----------
    samples
        With their truth.
    recipe, patch, lesions
        Preprocessing, side of the patches, codes of the classes.
    monitor
        Takes progress.
    reach
        Lesions that were drawn one by one are held as such where they come that near, in pixels at
        the working scale, to each other; None where masks are enough.
    left_out
        Gets the numbers of samples that cannot be prepared, with the reason; None: they raise.

    Raises
    ------
    FundusError
        An image or a mask cannot be read, or shows no disc; or none is left.
    """
    stored: list[StoredImage] = []
    for number, sample in enumerate(monitor.track(samples, message="preparing the images")):
        try:
            stored.append(_stored(sample, recipe, lesions, reach))
        except (KeyboardInterrupt, Cancelled, MemoryError):
            raise
        except BaseException as error:
            if left_out is None:
                raise
            left_out[number] = f"{printable(sample.id)}: {describe_error(error)}"
    if not stored and left_out:
        first = next(iter(left_out.values()))
        raise TrainingError(f"None of {len(left_out)} images can be prepared. First: {first}")
    return PatchStore(stored, lesions, minimum_side=patch)


def sample_validation_tiles(
    store: PatchStore, patch: int, limit: int, *, seed: int, lesion_limit: int = 0
) -> ValidationTiles:
    """Return tiles side by side: some with a lesion, and some of the others.

    Those drawn count for those left out, so that figures are those of whole images on average. A
    rim narrower than a tile, at the bottom and right, is left out.

    Parameters
    ----------
    store
        The images.
    patch
        Side of the tiles in pixels.
    limit, lesion_limit
        How many tiles without and with a lesion are drawn; 0 takes all.
    seed
        The same seed draws the same tiles.
    """
    places = np.array(list(_places(store, patch)), np.int64).reshape(-1, 4)
    rng = np.random.default_rng(seed)
    drawn, weights = [], []
    for kind, most in ((1, lesion_limit), (0, limit)):
        found = places[places[:, 3] == kind]
        weight = 1.0
        if 0 < most < len(found):
            weight = len(found) / most
            found = found[np.sort(rng.choice(len(found), most, replace=False))]
        drawn.append(found)
        weights.append(np.full(len(found), weight, np.float32))
    both = np.concatenate(drawn)
    return ValidationTiles(both[:, 0], both[:, 1], both[:, 2], np.concatenate(weights))


def _places(store: PatchStore, patch: int) -> Iterator[tuple[int, int, int, bool]]:
    for index, image in enumerate(store):
        height, width = image.bits.shape
        usable = image.valid_mask
        for row in range(0, height - patch + 1, patch):
            for col in range(0, width - patch + 1, patch):
                window = np.s_[row : row + patch, col : col + patch]
                if usable[window].any():
                    yield index, row, col, bool(image.bits[window].any())


def _stored(
    sample: Sample, recipe: Recipe, lesions: Sequence[str], reach: int | None
) -> StoredImage:
    image = sample.image()
    prepared = recipe.apply(image)
    inside = prepared.field_of_view
    pixels = np.ascontiguousarray(np.atleast_3d(prepared.pixels))
    # What becomes 0 as the network's input, as in detection.
    pixels[~inside] = PIXEL_MEAN
    region = sample.region(image.shape)
    unknown = None if region is None else ~prepared.geometry.forward_mask(region)
    known = inside if unknown is None else inside & ~unknown
    # In pixels of the file, so that another release of the preprocessing changes nothing.
    digest = hashlib.sha256(image.sha256.encode())
    masks, counts = [], {}
    objects: list[LesionObject] = []
    for code in map(str, lesions):
        if code not in sample.truths or code not in sample.annotated:
            masks.append(np.zeros_like(inside))
            counts[code] = 0
            continue
        drawn_mask = sample.mask(code, image.shape)
        digest.update(code.encode() + np.packbits(drawn_mask).tobytes())
        masks.append(prepared.geometry.forward_mask(drawn_mask) & known)
        counts[code] = sample.truths[code].count(image.shape)
        if reach is not None and sample.truths[code].instance_level:
            drawn = objects_to_working_scale(
                sample.objects(code, image.shape), prepared.geometry, known
            )
            if not components_match_objects(drawn, known.shape, reach=reach):
                objects += drawn
    return StoredImage(
        id=sample.id,
        group=sample.group or "",
        pixels=pixels,
        bits=pack_masks(masks),
        field_of_view=inside,
        annotated=np.array([str(code) in sample.annotated for code in lesions]),
        lesions=counts,
        unknown=unknown,
        objects=tuple(objects),
        content=digest.hexdigest(),
        identity=image.identity,
    )


def _longer_side(path: Path) -> int:
    """Return the image's longer side from its header; 0 where that is unknown."""
    try:
        with open_pillow(path) as file:
            return max(file.size)
    except (*PILLOW_ERRORS, Image.DecompressionBombError):
        return 0
