"""Where a layer lies in the world, and its pixels as a photograph: the two things a job needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_fundus.errors import ImageReadError, UnsupportedImageError
from napari_fundus.image import FundusImage, read_image
from napari_fundus.results.layer_metadata import layer_metadata

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari.layers import Image, Layer


def placement_of(layer: Layer) -> dict[str, Any]:
    """Return the keyword arguments that put a new 2-D layer exactly over `layer`.

    Scale, translation, rotation, shear, affine, units and axis labels of the last two axes; an RGB
    layer's channel is no axis in napari. For a stack the leading axes are left out.
    """
    affine = np.asarray(layer.affine.affine_matrix)
    return {
        "scale": np.asarray(layer.scale)[-2:].copy(),
        "translate": np.asarray(layer.translate)[-2:].copy(),
        "rotate": np.asarray(layer.rotate)[-2:, -2:].copy(),
        "shear": np.asarray(layer.shear)[-1:].copy(),
        "affine": affine[-3:, -3:].copy(),
        "units": tuple(layer.units)[-2:],
        "axis_labels": tuple(layer.axis_labels)[-2:],
    }


def lies_at(layer: Layer, placement: Mapping[str, Any]) -> bool:
    """Return whether `layer` lies where `placement` says; what that leaves out does not count."""
    return all(
        np.array_equal(value, placement[name])
        for name, value in placement_of(layer).items()
        if name in placement
    )


def transformed_placement(
    placement: dict[str, Any], scale: Sequence[float], offset: Sequence[float]
) -> dict[str, Any]:
    """Return the placement of an array that is a scaled part of the one placed by `placement`.

    Parameters
    ----------
    placement
        As :func:`placement_of` gives it, or empty for plain pixels.
    scale, offset
        Pixel (r, c) of the part lies at ``offset + scale * (r, c)`` of the whole.
    """
    unit = np.ones(2)
    whole = np.asarray(placement.get("scale", unit), float)
    rotate = np.asarray(placement.get("rotate", np.eye(2)), float)
    shear = np.eye(2)
    shear[0, 1] = float(np.ravel(placement.get("shear", [0.0]))[-1])
    shift = rotate @ shear @ (whole * np.asarray(offset, float))
    return {
        **placement,
        "scale": whole * np.asarray(scale, float),
        "translate": np.asarray(placement.get("translate", 0 * unit), float) + shift,
    }


@dataclass(frozen=True, eq=False)
class ImageSource:
    """What a job takes from an image layer before it leaves the main thread.

    Attributes
    ----------
    layer
        The layer itself: results are matched to it by identity, never by name.
    name
        Its name when the job started.
    data
        The array to read, still lazy where the layer is (dask, zarr).
    index
        Position in the leading axes of a stack, empty for a single picture.
    path
        The file that the layer says it was read from.
    placement
        Keyword arguments that put a new layer over it.
    """

    layer: Image
    name: str
    data: Any
    index: tuple[int, ...] = ()
    path: Path | None = None
    placement: dict[str, Any] = field(default_factory=dict)

    def load(self) -> FundusImage:
        """Read the pixels, as a photograph. May take seconds: not for the main thread.

        The image keeps its path only if the file still gives the very same pixels, so that what
        is copied as a command gives the same numbers.
        """
        pixels = np.asarray(self.data[self.index] if self.index else self.data)
        name = self.name + "".join(f" [{i}]" for i in self.index)
        image = FundusImage.from_array(pixels, name=name)
        return _reload_from_file(image, self.path) or image

    @property
    def expression(self) -> str:
        """The pixels as Python for napari's console."""
        layer = f"viewer.layers[{self.name!r}]"
        if not self.index:
            return layer
        whole = f"{layer}.data{'[0]' if self.layer.multiscale else ''}"
        return f"{whole}[{', '.join(map(str, self.index))}]"


def _reload_from_file(image: FundusImage, path: Path | None) -> FundusImage | None:
    if path is None or not path.is_file():
        return None
    try:
        stored = read_image(path)
    except ImageReadError:
        return None
    if stored.pixels.dtype != image.pixels.dtype or not np.array_equal(stored.pixels, image.pixels):
        return None
    return FundusImage(
        stored.pixels, name=image.name, path=path, metadata={**image.metadata, **stored.metadata}
    )


def image_source(layer: Image, point: Sequence[float] | None = None) -> ImageSource:
    """Take from `layer` what a job needs; quick, for the main thread.

    Parameters
    ----------
    layer
        RGB, RGBA, grey, multiscale, lazy, or a stack.
    point
        Position of the viewer's sliders in world coordinates: says which slice of a stack is meant.

    Raises
    ------
    UnsupportedImageError
        The layer's shape is not that of photographs.
    """
    data = layer.data[0] if layer.multiscale else layer.data
    shape = tuple(data.shape)
    if not layer.rgb and layer.ndim == 3 and shape[-1] in (3, 4):
        raise UnsupportedImageError(
            f"{layer.name!r} holds {shape[-1]} channels as separate slices. Open the file with "
            "napari-fundus, or add the array with rgb=True."
        )
    leading = layer.ndim - 2
    index: tuple[int, ...] = ()
    if leading:
        if point is None:
            position = np.zeros(leading)
        else:
            position = np.asarray(layer.world_to_data(np.asarray(point)[-layer.ndim :]))[:leading]
        limit = np.asarray(shape[:leading]) - 1
        index = tuple(int(i) for i in np.clip(np.rint(position), 0, limit))
    return ImageSource(
        layer=layer,
        name=layer.name,
        data=data,
        index=index,
        path=_path_of(layer),
        placement=placement_of(layer),
    )


def _path_of(layer: Layer) -> Path | None:
    path = layer_metadata(layer).path or layer.source.path
    return Path(path) if path else None
