"""What a thread reads before a review begins: labels, photograph, and an unfinished review."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from napari_fundus.errors import FundusError
from napari_fundus.gui.layers.placement import ImageSource
from napari_fundus.gui.review.label_layers import LabelLayers
from napari_fundus.image import FundusImage
from napari_fundus.review.autosave import SavedReview, autosave_path, read_autosave
from napari_fundus.review.loading import LoadedReview
from napari_fundus.review.session import Review


@dataclass(frozen=True, eq=False)
class ReviewInput:
    """What was read.

    Attributes
    ----------
    loaded
        Labels, tables and lesions.
    image
        The photograph, if it is in the viewer.
    path
        Where an unfinished review of it is kept; None if nothing identifies the image.
    unfinished
        The one that is there.
    problem
        Why it cannot be read.
    """

    loaded: LoadedReview
    image: FundusImage | None = None
    path: Path | None = None
    unfinished: SavedReview | None = None
    problem: FundusError | None = None


def load_review_input(
    loaded: LoadedReview, source: ImageSource | None, sha256: str, folder: Path | None
) -> ReviewInput:
    """Read the photograph and what is known of it; for a thread.

    Parameters
    ----------
    loaded
        What the labels hold.
    source
        The photograph's layer.
    sha256
        Of the photograph's pixels as the result records it, where there is no layer.
    folder
        Of unfinished reviews; None for the user's.
    """
    image = None if source is None else source.load()
    known = image.sha256 if image is not None else sha256
    if not known:
        return ReviewInput(loaded, image)
    path = autosave_path(known, folder)
    try:
        unfinished = read_autosave(path)
    except FundusError as error:
        return ReviewInput(loaded, image, path, problem=error)
    shape = next(iter(loaded.labels.values())).shape
    if unfinished is not None and any(a.shape != shape for a in unfinished.labels.values()):
        unfinished = None
    return ReviewInput(loaded, image, path, unfinished)


def restore_steps(saved: SavedReview, label_layers: LabelLayers, review: Review) -> Iterator[None]:
    """Show the labels of an unfinished review in its layers, one in each step; add those it lacks.

    For :class:`~napari_fundus.gui.layers.event_loop.StepRunner`.
    """
    for code, array in saved.labels.items():
        label_layers.add(review, code)
        yield
        label_layers.put(code, array)
        yield


def restored_review(saved: SavedReview, label_layers: LabelLayers, review: Review) -> SavedReview:
    """Return an unfinished review with labels, tables and lesions as the layers now have them.

    Parameters
    ----------
    saved
        As it was kept.
    label_layers
        The layers, after :func:`restore_steps`.
    review
        The review that has begun meanwhile; its classes that `saved` lacks stay.
    """
    label_layers.show_tables(dict(saved.tables))
    known = {lesion.id for lesion in saved.lesions}
    others = [
        lesion
        for lesion in review.lesions.values()
        if lesion.lesion not in saved.labels and lesion.id not in known
    ]
    return replace(
        saved,
        labels={code: label_layers.array(code) for code in label_layers.layers},
        tables={**review.tables, **saved.tables},
        lesions=[*saved.lesions, *others],
    )
