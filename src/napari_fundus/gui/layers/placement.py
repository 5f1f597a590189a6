"""Where a layer lies in the world, and its pixels as a photograph: the two things a job needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_fundus.errors import ImageReadError, UnsupportedImageError
from napari_fundus.image import FundusImage, read_image
from napari_fundus.results.layer_metadata import layer_metadata
from napari_fundus.results.slice_stack import SliceIndex

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


def stack_placement_of(layer: Layer) -> dict[str, Any]:
    """Return the keyword arguments that put a layer of as many axes exactly over a stack."""
    return {
        "scale": np.array(layer.scale),
        "translate": np.array(layer.translate),
        "rotate": np.array(layer.rotate),
        "shear": np.array(layer.shear),
        "affine": np.array(layer.affine.affine_matrix),
        "units": tuple(layer.units),
        "axis_labels": tuple(layer.axis_labels),
    }


def slice_index(layer: Layer, point: Sequence[float] | None) -> SliceIndex:
    """Return which slice of a stack is meant by the position of the viewer's sliders.

    Parameters
    ----------
    layer
        An image; for a single photograph the answer is empty.
    point
        World coordinates; the first slice is meant by None.
    """
    leading = layer.ndim - 2
    if not leading:
        return ()
    position = np.zeros(leading)
    if point is not None:
        position = np.asarray(layer.world_to_data(np.asarray(point)[-layer.ndim :]))[:leading]
    limit = np.asarray(stack_shape(layer)) - 1
    return tuple(int(i) for i in np.clip(np.rint(position), 0, limit))


def stack_shape(layer: Layer) -> tuple[int, ...]:
    """Return the lengths of a layer's leading axes; empty for a single photograph."""
    data = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    return tuple(map(int, data.shape[: layer.ndim - 2]))


def with_leading(data: Any, index: SliceIndex) -> Any:
    """Return the coordinates of points, shapes or vectors of a slice in the axes of its stack.

    Parameters
    ----------
    data
        A list of shapes (N, 2); or an array (N, 2) of points or (N, 2, 2) of vectors.
    index
        The slice; where it is empty, the coordinates stay as they are.
    """
    if not index:
        return data
    if isinstance(data, list):
        return [with_leading(np.asarray(corners), index) for corners in data]
    values = np.asarray(data, np.float64)
    leading = np.zeros((*values.shape[:-1], len(index)))
    # A vector is a place and a step, which stays within the slice.
    leading[(slice(None), 0) if values.ndim == 3 else slice(None)] = index
    return np.concatenate([leading, values], axis=-1)


_CHANNEL_AXES = frozenset({"c", "ch", "channel", "channels", "rgb", "rgba", "colour", "color"})


def has_channels_first(layer: Image) -> bool:
    """Whether the slices of an image are the channels of one photograph: shape (3, H, W).

    Three slices are taken for channels unless the axis has a name, such as "visit"; four are where
    the axis is named so. Raises for channels in an axis that is not the first of three.
    """
    if layer.rgb or layer.ndim < 3:
        return False
    *leading, channels = stack_shape(layer)
    label = str(layer.axis_labels[-3]).lower()
    named = label in _CHANNEL_AXES
    unnamed = label.removeprefix("axis ").lstrip("-").isdigit()
    if not (named or (channels == 3 and unnamed)):
        return False
    if leading or channels not in (1, 3, 4):
        raise UnsupportedImageError(
            f"{layer.name!r} has {channels} slices in its axis {layer.axis_labels[-3]!r}, which "
            "look like channels of each photograph. Add the array with its channels in the last "
            "axis (np.moveaxis) and rgb=True; or, if the slices are photographs, name that axis, "
            "such as layer.axis_labels = ('patient', 'visit', 'y', 'x')."
        )
    return True


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
    channels_first
        Whether the first axis holds the channels of one photograph.
    """

    layer: Image
    name: str
    data: Any
    index: SliceIndex = ()
    path: Path | None = None
    placement: dict[str, Any] = field(default_factory=dict)
    channels_first: bool = False

    def load(self) -> FundusImage:
        """Read the pixels, as a photograph. May take seconds: not for the main thread.

        The image keeps its path only if the file still gives the very same pixels, so that what
        is copied as a command gives the same numbers.
        """
        pixels = np.asarray(self.data[self.index] if self.index else self.data)
        if self.channels_first:
            pixels = np.moveaxis(pixels, 0, -1)
        name = self.name + "".join(f" [{i}]" for i in self.index)
        image = FundusImage.from_array(pixels, name=name)
        return _reload_from_file(image, self.path) or image

    @property
    def expression(self) -> str:
        """The pixels as Python for napari's console."""
        layer = f"viewer.layers[{self.name!r}]"
        if not self.index and not self.channels_first:
            return layer
        whole = f"{layer}.data{'[0]' if self.layer.multiscale else ''}"
        if self.channels_first:
            return f"{whole}.transpose(1, 2, 0)"
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
    # An array (3, H, W) is one photograph; results lie over each of its channels.
    data = layer.data[0] if layer.multiscale else layer.data
    shape = tuple(data.shape)
    if not layer.rgb and layer.ndim == 3 and shape[-1] in (3, 4):
        raise UnsupportedImageError(
            f"{layer.name!r} holds {shape[-1]} channels as separate slices. Open the file with "
            "napari-fundus, or add the array with rgb=True."
        )
    channels_first = has_channels_first(layer)
    return ImageSource(
        layer=layer,
        name=layer.name,
        data=data,
        index=() if channels_first else slice_index(layer, point),
        path=_path_of(layer),
        placement=placement_of(layer),
        channels_first=channels_first,
    )


def _path_of(layer: Layer) -> Path | None:
    path = layer_metadata(layer).path or layer.source.path
    return Path(path) if path else None
