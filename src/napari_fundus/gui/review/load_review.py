"""What a thread reads before a review begins: labels, photograph, and an unfinished review."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from napari_fundus.errors import FundusError
from napari_fundus.gui.layers.placement import ImageSource
from napari_fundus.gui.review.label_layers import LabelLayers
from napari_fundus.image import FundusImage
from napari_fundus.review.autosave import SavedReview, autosave_path, read_unfinished
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
        Where this review is kept while it is unfinished: a file of its own.
    unfinished
        Those of earlier sittings, the oldest first.
    problems
        Why some cannot be taken up.
    """

    loaded: LoadedReview
    path: Path
    image: FundusImage | None = None
    unfinished: tuple[SavedReview, ...] = ()
    problems: tuple[FundusError, ...] = ()


def load_review_input(
    loaded: LoadedReview, source: ImageSource | None, image_sha256: str, folder: Path | None
) -> ReviewInput:
    """Read the photograph and what is known of it; for a thread.

    Parameters
    ----------
    loaded
        What the labels hold.
    source
        The photograph's layer.
    image_sha256
        Of the photograph's pixels as the result records it, where there is no layer.
    folder
        Of unfinished reviews; None for the user's.
    """
    image = None if source is None else source.load()
    known = (image.sha256 if image is not None else image_sha256) or _labels_sha256(loaded)
    shape = next(iter(loaded.labels.values())).shape
    unfinished, problems = read_unfinished(known, shape, folder)
    path = autosave_path(known, folder)
    return ReviewInput(loaded, path, image, tuple(unfinished), tuple(problems))


def _labels_sha256(loaded: LoadedReview) -> str:
    """Return what identifies labels of an image that nothing is known of."""
    digest = sha256()
    for code, labels in sorted(loaded.labels.items()):
        digest.update(f"{code} {labels.dtype.str} {labels.shape}".encode())
        digest.update(np.ascontiguousarray(labels).data)
    return digest.hexdigest()


def restore_steps(saved: SavedReview, label_layers: LabelLayers, review: Review) -> Iterator[None]:
    """Show the labels of an unfinished review in its layers, one in each step; add those it lacks.

    For :class:`~napari_fundus.gui.layers.event_loop.StepRunner`.
    """
    for code, array in saved.labels.items():
        label_layers.add(review, code)
        yield
        label_layers.put(code, array)
        yield


def restored_review(saved: SavedReview, label_layers: LabelLayers) -> SavedReview:
    """Return an unfinished review with the labels that the layers now have.

    Parameters
    ----------
    saved
        As it was kept, merged with the one that had begun meanwhile.
    label_layers
        The layers, after :func:`restore_steps`.
    """
    label_layers.show_tables(dict(saved.tables))
    return replace(saved, labels={code: label_layers.array(code) for code in saved.labels})
