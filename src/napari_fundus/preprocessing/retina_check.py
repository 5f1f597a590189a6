"""Whether a picture shows a retina: by its colours, its contrasts, its vessels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_fundus.errors import NoFieldOfViewError
from napari_fundus.image import FundusImage
from napari_fundus.preprocessing.field_of_view import find_field_of_view, reduce_picture
from napari_fundus.preprocessing.geometry import bounding_box
from napari_fundus.preprocessing.several_photographs import find_several

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_SIDE = 256
"""Longer side of the field of view's box, px, to which all that is measured here refers."""

_LEAST_SIDE = 100
"""Longer side in the photograph, px, below which neither vessels nor lesions can be seen."""

_COLOURLESS = 0.03
"""Median saturation below which a picture is grey."""

_RED = 1.15
"""Ratio of red to green and to blue above which a pixel has a retina's colour."""

_LEAST_RED = 0.6
"""Least share of such pixels. Of 521 photographs of two cameras the lowest has 0.94."""

_MOST_CONTRAST = 0.21
"""Deviation of the green plane from its local mean, relative to it; at most 0.18 there."""

_MOST_DETAIL = 0.03
"""Median change a pixel of the same; at most 0.026 there."""

_LEAST_LENGTH = 2.0
"""Length of all dark lines of some length, in sides; at least 2.7 there."""

_LEAST_LONGEST = 0.4
"""Length of the longest connected dark lines, in sides; at least 0.6 there."""

_CALM = (0.085, 0.31)
"""Change a pixel between dark lines, relative to the lines' depth; 0.096 to 0.28 there.

Drawings and print are even between their lines; grass or noise is not."""

_MOST_UNEVEN = 3.5
"""Deviation between the dark lines, relative to the lines' depth; at most 2.9 there."""

_LINE = 25
"""Least length of a line that is counted, px."""


@dataclass(frozen=True)
class RetinaMeasures:
    """What is measured in the field of view; the constants above tell what retinas have.

    Attributes
    ----------
    side
        Longer side of the field of view's box in the photograph, px.
    saturation, red
        Median saturation, and share of pixels that are clearly red.
    contrast, detail
        Deviation of the green plane from its local mean, and its median change a pixel, as shares
        of that mean.
    length, longest
        Of dark lines, such as vessels are, in sides of the field of view's box.
    calm, unevenness
        Median change a pixel, and deviation, between the dark lines, as shares of their depth.
    """

    side: int
    saturation: float
    red: float
    contrast: float
    detail: float
    length: float
    longest: float
    calm: float
    unevenness: float

    @property
    def doubts(self) -> tuple[str, ...]:
        """What speaks against a retina, in words."""
        found = []
        if self.saturation >= _COLOURLESS and self.red < _LEAST_RED:
            found.append(f"only {self.red:.0%} of it has a retina's red")
        if self.contrast > _MOST_CONTRAST or self.detail > _MOST_DETAIL:
            found.append("its contrasts are too strong")
        if self.side >= _LEAST_SIDE and (
            self.length < _LEAST_LENGTH
            or self.longest < _LEAST_LONGEST
            or not _CALM[0] <= self.calm <= _CALM[1]
            or self.unevenness > _MOST_UNEVEN
        ):
            found.append("it has no lines like vessels")
        return tuple(found)


def check_retina(image: FundusImage, field_of_view: Mask | None = None) -> tuple[str, ...]:
    """Return what a person should know before trusting what was found in `image`; mostly nothing.

    Parameters
    ----------
    image
        The photograph.
    field_of_view
        bool, shape (H, W); None to have it found.

    Returns
    -------
    tuple of str
        One sentence or two each: that the picture hardly shows a retina, or a tiny one, has no
        colours, or holds several photographs.

    Examples
    --------
    >>> from napari_fundus.image import read_image
    >>> from napari_fundus.samples import normal_image_path
    >>> check_retina(read_image(normal_image_path()))
    ()
    """
    if field_of_view is None:
        try:
            field_of_view = find_field_of_view(image)
        except NoFieldOfViewError as error:
            return (str(error),)
    if not field_of_view.any():
        return ()
    measures = measure_retina(image, field_of_view)
    found: list[str] = []
    if doubts := measures.doubts:
        found.append(
            f"This may be no photograph of a retina: {', '.join(doubts)}. Look at it before you "
            "trust the result."
        )
    elif several := find_several(image.rgb8, field_of_view):
        found.append(several)
    if measures.side < _LEAST_SIDE:
        found.append(f"The retina is only {measures.side} px wide: too few for lesions to be seen.")
    if measures.saturation < _COLOURLESS:
        found.append(
            "The photograph has no colours. Detectors are made for colour photographs and find "
            "less, or other things, in this one."
        )
    return tuple(found)


def measure_retina(image: FundusImage, field_of_view: Mask) -> RetinaMeasures:
    """Return what is measured in a field of view, at a common size, off its rim."""
    import cv2
    from skimage.filters import sato
    from skimage.morphology import dilation, disk

    box = bounding_box(field_of_view)
    if box is None:
        raise NoFieldOfViewError("The field of view is empty; draw it or choose another image.")
    pixels, field = _at_common_size(image.rgb8[box], field_of_view[box])
    inside = _off_the_rim(field)
    red, green, blue = (pixels[..., n][inside].astype(np.float64) for n in range(3))
    most, least = (f.reduce([red, green, blue]) for f in (np.maximum, np.minimum))
    weight = field.astype(np.float32)
    plane = pixels[..., 1] * weight
    mean = cv2.GaussianBlur(plane, (0, 0), 12) / np.maximum(
        cv2.GaussianBlur(weight, (0, 0), 12), 1e-3
    )
    flat = np.where(field, plane / (mean + 8) - 1, 0)
    rows, cols = np.gradient(cv2.GaussianBlur(flat, (0, 0), 1.0))
    change = np.hypot(rows, cols)
    ridges = np.asarray(sato(flat, sigmas=(1.5, 2.5), black_ridges=True), np.float64)
    strong = ridges > np.percentile(ridges[inside], 88)
    lines, lengths = _long_lines(strong & inside)
    depth = float(np.median(ridges[lines])) + 1e-3 if lines.any() else 1e-3
    calm = inside & ~dilation(strong, disk(2))
    if not calm.any():
        calm = inside
    return RetinaMeasures(
        side=max(part.stop - part.start for part in box),
        saturation=float(np.median((most - least) / np.maximum(most, 1))),
        red=float(((red >= _RED * green) & (red >= _RED * blue)).mean()),
        contrast=float(flat[inside].std()),
        detail=float(np.median(change[inside])),
        length=float(lengths[lengths >= _LINE].sum()) / _SIDE,
        longest=float(lengths.max(initial=0)) / _SIDE,
        calm=float(np.median(change[calm])) / depth,
        unevenness=float(flat[calm].std()) / depth,
    )


def _at_common_size(pixels: Pixels, field: Mask) -> tuple[Pixels, Mask]:
    """Return a picture and its field of view with a longer side of `_SIDE`."""
    import cv2

    factor = _SIDE / max(field.shape)
    size = max(round(field.shape[1] * factor), 1), max(round(field.shape[0] * factor), 1)
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    small = cv2.resize(reduce_picture(pixels, 4 * _SIDE)[0], size, interpolation=how)
    mask = cv2.resize(field.view(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return np.asarray(small, np.uint8), np.asarray(mask, np.uint8).view(np.bool_)


def _off_the_rim(field: Mask, width: int = 9) -> Mask:
    """Return the field of view without its rim, and without the frame's; all of a small one."""
    import cv2

    kernel = np.ones((3, 3), np.uint8)
    core = cv2.erode(field.view(np.uint8), kernel, iterations=width, borderValue=0)
    inside: Mask = np.asarray(core, np.uint8).view(np.bool_)
    return inside if inside.sum() >= 100 else field


def _long_lines(mask: Mask) -> tuple[Mask, npt.NDArray[np.intp]]:
    """Return the middle lines of `mask`, the long ones if there are any, and all their lengths."""
    from skimage.measure import label
    from skimage.morphology import skeletonize

    skeleton = skeletonize(mask)
    labels = label(skeleton, connectivity=2)
    lengths = np.bincount(labels.ravel())
    lengths[0] = 0
    long = (lengths >= _LINE)[labels]
    return (long if long.sum() > 10 else skeleton), lengths
