"""From a review to a folder of corrections: what is taken in the window, and what a thread does."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_fundus.datasets.corrections import LesionVerdict, write_correction
from napari_fundus.errors import FundusError
from napari_fundus.gui.review.region import polygons_mask, shapes_to_polygons
from napari_fundus.image import FundusImage

if TYPE_CHECKING:
    from napari.layers import Shapes

    from napari_fundus.gui.evaluate.layer_groups import LayerGroup
    from napari_fundus.review.session import Review


@dataclass(frozen=True, eq=False)
class SaveRequest:
    """What is to be saved, as it was when the reviewer said so.

    Attributes
    ----------
    image
        The photograph.
    labels
        Class code to labels, copied.
    reviewed
        Classes that were looked for.
    outlines
        Polygons of what was looked at, in pixels; None for everywhere.
    provenance
        Of the detector's run.
    verdicts
        Of single lesions.
    """

    image: FundusImage
    labels: dict[str, npt.NDArray[Any]]
    reviewed: list[str]
    outlines: list[npt.NDArray[np.float64]] | None = None
    provenance: dict[str, Any] | None = None
    verdicts: list[LesionVerdict] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        review: Review,
        found: LayerGroup,
        image: FundusImage | None,
        reviewed: list[str],
        region: Shapes | None,
    ) -> SaveRequest:
        """Take everything from review and layers, in the main thread.

        Raises
        ------
        FundusError
            There is no photograph, or the region encloses nothing.
        """
        if image is None:
            raise FundusError(
                "The photograph that these labels belong to is not in the viewer: open it, and "
                "choose the result again."
            )
        outlines = None
        if region is not None:
            onto = next(iter(found.labels.values()))
            outlines = shapes_to_polygons(region, onto)
            if not outlines:
                raise FundusError(
                    f"The layer {region.name!r} encloses nothing: draw a polygon around what you "
                    "reviewed, or choose the whole field of view."
                )
        labels = {c: review.labels[c].copy() for c in reviewed if c in review.labels}
        provenance = found.provenance or None
        return cls(image, labels, list(reviewed), outlines, provenance, review.verdicts())


def save_corrections(order: SaveRequest, folder: Path) -> Path:
    """Write what was ordered, and return the image's folder; for a thread."""
    region = None
    if order.outlines is not None:
        region = polygons_mask(order.outlines, order.image.shape)
    return write_correction(
        folder,
        image=order.image,
        labels=order.labels,
        reviewed=order.reviewed,
        region=region,
        provenance=order.provenance,
        verdicts=order.verdicts,
        overwrite=True,  # the reviewer saves the same image again and again
    )


def judged_classes(review: Review) -> set[str]:
    """Return the classes in which something was judged, before and after a relabelling."""
    judged = [lesion for lesion in review.lesions.values() if lesion.verdict is not None]
    return {code for x in judged for code in (x.lesion, x.detected) if code is not None}


def count_unjudged(review: Review, codes: list[str]) -> int:
    """Return how many lesions in the labels of these classes have no verdict."""
    lesions = review.lesions.values()
    return sum(x.lesion in codes and x.present and x.verdict is None for x in lesions)
