"""A picture of the photograph with its lesions outlined, for reports and for a quick look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from napari_fundus._version import __version__
from napari_fundus.errors import FundusError
from napari_fundus.export.outline_drawing import (
    OutlineStyle,
    Viewport,
    draw_outlines,
    fit_viewport,
    text_colour,
)
from napari_fundus.image import FundusImage
from napari_fundus.lesions import describe
from napari_fundus.metrics.lesion_matching import TrueLesions, match_detections
from napari_fundus.results.detections import Detections
from napari_fundus.runtime.files import atomic_write

Mask = npt.NDArray[np.bool_]
Picture = npt.NDArray[np.uint8]

HIT_COLOUR, MISS_COLOUR, FALSE_COLOUR = "#7fe8ff", "#ffe119", "#7a2cff"
"""Colours of lesions found, lesions missed and false detections.

Light blue, yellow and violet differ by at least 30 units of CIEDE2000 from each other for people
with normal sight and under protanopia, deuteranopia and tritanopia; missed lesions are dashed too.
"""

_GAP = 16
_BACKGROUND = (17, 17, 19)
_INK, _FAINT = (236, 236, 236), (160, 160, 165)
_JPEG_QUALITY = 92


@dataclass(frozen=True)
class _Group:
    """Lesions outlined in one way, and the line of the legend that describes them."""

    mask: Mask
    line: OutlineStyle
    legend: str


@dataclass(frozen=True)
class _Panel:
    title: str
    groups: Sequence[_Group]


def write_overlay(
    image: FundusImage,
    detections: Detections,
    path: str | Path,
    *,
    truth: Mapping[str, Mask] | None = None,
    max_width: int = 2000,
    overwrite: bool = False,
) -> None:
    """Write the picture of :func:`draw_overlay` as JPEG or PNG, by the suffix of `path`.

    Raises
    ------
    FundusError
        The suffix is neither ``.png`` nor ``.jpg`` or ``.jpeg``, or an array has another shape
        than the image.
    OutputExistsError
        The file exists, and `overwrite` is False.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise FundusError(f"An overlay is written as .png or .jpg, not as {path.suffix!r}.")
    picture = Image.fromarray(draw_overlay(image, detections, truth=truth, max_width=max_width))
    with atomic_write(path, overwrite=overwrite) as temporary:
        if path.suffix.lower() == ".png":
            picture.save(temporary, format="PNG")
        else:
            picture.save(temporary, format="JPEG", quality=_JPEG_QUALITY, subsampling=0)


def draw_overlay(
    image: FundusImage,
    detections: Detections,
    *,
    truth: Mapping[str, Mask] | None = None,
    max_width: int = 2000,
) -> Picture:
    """Outline what was found and, where the truth is given, what was missed or false.

    Without truth there is one view in which each class has its colour. With truth there is
    another view a class, in which light blue outlines mark detections that touch a true lesion,
    dashed yellow ones true lesions of which no pixel was found, and violet ones detections that
    touch no true lesion.

    Parameters
    ----------
    image
        The photograph.
    detections
        What was found in it.
    truth
        Class code to bool mask, shape (H, W). Classes that the detector does not look for are
        left out.
    max_width
        Greatest width of the picture in pixels.

    Returns
    -------
    uint8, shape (height, width, 3)
        Small images are not enlarged.
    """
    given = {str(code): mask for code, mask in (truth or {}).items()}
    for name, shape in [("result", detections.shape), *((c, m.shape) for c, m in given.items())]:
        if shape != image.shape:
            raise FundusError(f"The image has shape {image.shape}, {name} has {shape}.")
    panels = [_overview(detections)]
    panels += [
        _comparison(code, detections, given[code]) for code in detections.lesions if code in given
    ]
    columns = 1 if len(panels) == 1 else 2
    width = (max_width - _GAP * (columns + 1)) // columns
    view = fit_viewport(image.shape, detections.field_of_view, width)
    base = view.resample(image.rgb8)
    drawn = [_draw_panel(base, view, panel) for panel in panels]
    return _page(drawn, columns, _heading(detections), _footing(detections))


def _overview(detections: Detections) -> _Panel:
    groups = []
    for code, labels in detections.labels.items():
        info = describe(code)
        count = int((detections.instances["lesion"] == code).sum())
        name = info.name if count == 1 else info.plural
        groups.append(_Group(labels > 0, OutlineStyle(info.colour), f"{count} {name}"))
    return _Panel("All detections", groups)


def _comparison(code: str, detections: Detections, truth: Mask) -> _Panel:
    """Sort lesions into found, missed and false by the rule of FROC: one common pixel is enough."""
    labels, lesions = detections.labels[code], TrueLesions.of(code, truth)
    match = match_detections(detections, lesions)
    false = np.isin(labels, match.false["id"])
    missed = np.isin(lesions.labels, match.true["id"][~match.true["found"]])
    return _Panel(
        f"{describe(code).plural.capitalize()}: {match.lesions.found} of {len(match.true)} found",
        [
            _Group((labels > 0) & ~false, OutlineStyle(HIT_COLOUR), "found"),
            _Group(false, OutlineStyle(FALSE_COLOUR), f"{len(match.false)} false"),
            _Group(
                missed,
                OutlineStyle(MISS_COLOUR, dashed=True),
                f"{match.lesions.missed} missed",
            ),
        ],
    )


def _draw_panel(base: Picture, view: Viewport, panel: _Panel) -> Image.Image:
    canvas = base.copy()
    for group in panel.groups:
        draw_outlines(canvas, group.mask, group.line, view)
    picture = Image.fromarray(view.downsample(canvas))
    return _with_caption(picture, panel)


def _with_caption(picture: Image.Image, panel: _Panel) -> Image.Image:
    """Put the panel's title above it, and its legend below."""
    size = _font_size(picture.width)
    title, legend = _font(size * 1.15), _font(size)
    entries = [(group, legend.getlength(group.legend)) for group in panel.groups]
    swatch = round(size * 2.6)
    rows: list[list[tuple[_Group, float]]] = [[]]
    used = 0.0
    for group, length in entries:
        needed = swatch + length + size * 1.5
        if rows[-1] and used + needed > picture.width:
            rows.append([])
            used = 0.0
        rows[-1].append((group, needed))
        used += needed
    head, line = round(size * 2.0), round(size * 1.8)
    page = Image.new("RGB", (picture.width, head + picture.height + line * len(rows)), _BACKGROUND)
    page.paste(picture, (0, head))
    draw = ImageDraw.Draw(page)
    draw.text((0, head / 2), panel.title, fill=_INK, font=title, anchor="lm")
    for number, row in enumerate(rows):
        middle = head + picture.height + line * (number + 0.5)
        at = 0.0
        for group, needed in row:
            _swatch(draw, group.line, at, middle, swatch - size * 0.6)
            draw.text((at + swatch, middle), group.legend, fill=_INK, font=legend, anchor="lm")
            at += needed
    return page


def _swatch(draw: Any, line: OutlineStyle, left: float, middle: float, length: float) -> None:
    thickness = max(3, round(length / 12))
    pieces = 3 if line.dashed else 1
    step = length / (pieces * 2 - 1)
    ground = text_colour(line.colour)
    for piece in range(pieces):
        start = left + 2 * piece * step
        box = (start, middle - thickness / 2, start + step, middle + thickness / 2)
        draw.rectangle(box, fill=line.colour, outline=line.colour if ground == "black" else ground)


def _page(panels: Sequence[Image.Image], columns: int, heading: str, footing: str) -> Picture:
    """Set the panels in rows, under a heading and over a footing."""
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    heights = [max(panel.height for panel in row) for row in rows]
    width = columns * panels[0].width + (columns + 1) * _GAP
    size = _font_size(width)
    small = _font(size * 0.8)
    head, foot = round(size * 2.4), round(size * 1.8)
    page = Image.new(
        "RGB", (width, head + sum(heights) + _GAP * (len(rows) - 1) + foot), _BACKGROUND
    )
    draw = ImageDraw.Draw(page)
    heading_font = _fitting(heading, size * 1.3, width - 2 * _GAP)
    draw.text((_GAP, head / 2), heading, fill=_INK, font=heading_font, anchor="lm")
    top = head
    for row, height in zip(rows, heights, strict=True):
        for column, panel in enumerate(row):
            page.paste(panel, (_GAP + column * (panel.width + _GAP), top))
        top += height + _GAP
    draw.text((_GAP, page.height - foot / 2), footing, fill=_FAINT, font=small, anchor="lm")
    return np.asarray(page)


def _heading(detections: Detections) -> str:
    return detections.provenance.image_name


def _footing(detections: Detections) -> str:
    origin = detections.provenance
    return (
        f"napari-fundus {__version__}  ·  {origin.detector} {origin.detector_version}  ·  "
        "research software, not a medical device"
    )


def _font_size(width: int) -> float:
    return min(max(width / 50, 11.0), 28.0)


def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise FundusError("This build of Pillow has no FreeType; reinstall Pillow from a wheel.")
    return font


def _fitting(text: str, size: float, width: float) -> ImageFont.FreeTypeFont:
    """Return a font in which `text` is no wider than `width`."""
    font = _font(size)
    length = font.getlength(text)
    return font if length <= width else _font(max(size * width / length, 6.0))
