"""The top-hat detector: dark and bright spots that are too small or too short to be anatomy."""

from __future__ import annotations

from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from napari_fundus.backends.tophat.contrast import (
    WorkingPlane,
    exudate_contrast,
    haemorrhage_contrast,
    microaneurysm_contrast,
)
from napari_fundus.backends.tophat.filters import Mask, Plane, fill_outside
from napari_fundus.backends.tophat.optic_disc import find_optic_disc
from napari_fundus.backends.tophat.options import TopHatOptions
from napari_fundus.backends.tophat.score import contrast_score
from napari_fundus.detector import Detector, DetectorOptions, Prediction
from napari_fundus.image import FundusImage
from napari_fundus.lesions import Lesion
from napari_fundus.preprocessing import find_field_of_view, fit_fov_circle
from napari_fundus.runtime.devices import Device
from napari_fundus.runtime.progress import Monitor

_LARGEST_SCALE = 4.0
"""Small images are enlarged at most so much: more shows no more, and only takes time."""

_RIM = 0.006
"""Width of the rim, in diameters of the disc, that is left out: cameras' masks are soft there."""


class TopHat(Detector):
    """Dark dots, dark blobs and bright spots by mathematical morphology on the green plane.

    The disc is resized to a working diameter. The background, a median, is subtracted, and the
    difference measured by the noise about it. Top-hats with rotating lines take out vessels and
    leave dots (MA) and blobs (HE); a top-hat with a disc keeps bright spots (EX) outside the optic
    disc, which is found and left out. A score is the rank of a contrast among the pixels of
    reference images: see `contrast_score`.

    References
    ----------
    Walter T., Massin P., Erginay A., Ordonez R., Jeulin C., Klein J.-C.: Automatic detection of
    microaneurysms in color fundus images. Medical Image Analysis 11(6), 2007, 555–566.

    Walter T., Klein J.-C., Massin P., Erginay A.: A contribution of image processing to the
    diagnosis of diabetic retinopathy. IEEE Transactions on Medical Imaging 21(10), 2002, 1236–1243.
    """

    name: ClassVar[str] = "tophat"
    title: ClassVar[str] = "Top-hat (no weights)"
    summary: ClassVar[str] = "Mathematical morphology: dark dots and blobs, bright spots."
    lesions: ClassVar[tuple[str, ...]] = (Lesion.MA, Lesion.HE, Lesion.EX)
    version: ClassVar[str] = "1"
    licence: ClassVar[str] = "BSD-3-Clause"
    reference: ClassVar[str] = (
        "After Walter et al., Medical Image Analysis 11(6), 2007, doi:10.1016/j.media.2007.05.001"
    )
    Options: ClassVar[type[DetectorOptions]] = TopHatOptions

    def predict(
        self,
        image: FundusImage,
        options: Any,
        *,
        device: Device,
        monitor: Monitor,
    ) -> Prediction:
        """Return the maps of `image`; see `Detector.predict`.

        Raises
        ------
        NoFieldOfViewError
            The image is black or uniform.
        """
        inside = image.given_field_of_view
        if inside is None:
            inside = find_field_of_view(image)
        monitor.step(0.1, "field of view")
        maps: dict[str, npt.NDArray[np.float32]] = {}
        box, found = contrasts(image, inside, options, monitor=monitor.part(0.1, 0.8))
        size = box[1].stop - box[1].start, box[0].stop - box[0].start
        for done, (lesion, contrast) in enumerate(found.items(), start=1):
            whole = np.zeros(image.shape, np.float32)
            whole[box] = cv2.resize(
                contrast_score(contrast, lesion), size, interpolation=cv2.INTER_LINEAR
            )
            maps[lesion] = whole
            monitor.step(0.8 + 0.06 * done, "map in original pixels")
        return Prediction(maps, field_of_view=inside)


def contrasts(
    image: FundusImage, inside: Mask, options: TopHatOptions, *, monitor: Monitor
) -> tuple[tuple[slice, slice], dict[str, Plane]]:
    """Return the box of the field of view, and the contrast of each class within it.

    Parameters
    ----------
    image
        The photograph.
    inside
        bool, shape (H, W): field of view.
    options
        Sizes.
    monitor
        Takes progress.

    Returns
    -------
    box
        Rows and columns, in the image, of what the contrasts show.
    contrasts
        Class code to float32 at working size, at least 0, and 0 outside the field of view.
    """
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(inside).view(np.uint8))
    box = np.s_[top : top + height, left : left + width]
    full_diameter = fit_fov_circle(inside).diameter
    scale = min(_LARGEST_SCALE, options.working_diameter / full_diameter)
    diameter = scale * full_diameter
    size = max(round(width * scale), 8), max(round(height * scale), 8)
    rgb = cv2.resize(
        image.rgb8[box], size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    )
    monitor.step(0.1, "resizing")
    core = _without_rim(cv2.resize(inside[box].view(np.uint8), size), _RIM * diameter)
    green = fill_outside(rgb[..., 1].astype(np.float32), core, 0.02 * diameter)
    if options.optic_disc_size > 0:
        row, col = find_optic_disc(rgb, core, diameter)
        place, radius = (round(col), round(row)), round(options.optic_disc_size * diameter / 2)
        core = cv2.circle(core.view(np.uint8), place, radius, 0, thickness=-1) > 0
    monitor.step(0.2, "optic disc")
    work = WorkingPlane(green, core, diameter)
    found: dict[str, Plane] = {
        Lesion.MA: microaneurysm_contrast(work, options, monitor=monitor.part(0.2, 0.5)),
        Lesion.HE: haemorrhage_contrast(work, options, monitor=monitor.part(0.5, 0.8)),
        Lesion.EX: exudate_contrast(work, options, monitor=monitor.part(0.8, 1.0)),
    }
    return box, {lesion: contrast * core for lesion, contrast in found.items()}


def _without_rim(inside: npt.NDArray[Any], width: float) -> Mask:
    """Return the field of view less a rim, which is left out along the frame too.

    Cameras' masks are soft at the rim, and enlarging and compression leave edges along the frame.
    """
    side = 2 * max(round(width), 1) + 1
    square = np.ones((side, side), np.uint8)
    eroded = cv2.erode(inside, square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(eroded > 0)
