"""Pictures of a training as layers: what the network is shown, and what it finds each epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
from napari.layers import Image, Labels

from napari_fundus.gui.layers.add_in_steps import LayerAddQueue
from napari_fundus.gui.layers.placement import placement_of
from napari_fundus.lesions import describe
from napari_fundus.results.layer_metadata import METADATA_KEY, LayerMetadata
from napari_fundus.training.loop.events import Patches, Preview

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

_GAP = 4
_TALLEST = 160
"""Side in pixels from which patches of the sheet are made smaller."""


@dataclass(frozen=True, eq=False)
class ContactSheet:
    """Patches side by side.

    Attributes
    ----------
    pixels
        uint8, shape (H, W, 3).
    masks
        uint8, shape (H, W): 0, or one more than the place in `classes`; None without masks.
    classes
        Codes.
    """

    pixels: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.uint8] | None
    classes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class PreviewStrip:
    """A preview's pictures side by side: uint8 pixels (H, W, 3), the epoch from 0, the titles."""

    pixels: npt.NDArray[np.uint8]
    epoch: int
    titles: tuple[str, ...]


def patch_sheet(patches: Patches) -> ContactSheet:
    """Return patches as a contact sheet, about as high as wide; not for the main thread."""
    step = max(-(-patches.images.shape[1] // _TALLEST), 1)
    images = patches.images[:, ::step, ::step]
    columns = max(math.ceil(math.sqrt(len(images))), 1)
    masks = None if patches.masks is None else patches.masks[:, ::step, ::step, np.newaxis]
    return ContactSheet(
        _grid(images, columns),
        None if masks is None else _grid(masks, columns)[..., 0],
        patches.classes,
    )


def preview_strip(preview: Preview) -> PreviewStrip:
    """Return a preview's pictures side by side, maps as heat from black over red to white."""
    height = max((image.shape[0] for image in preview.images.values()), default=1)
    parts: list[npt.NDArray[np.uint8]] = []
    for image in preview.images.values():
        if image.ndim == 2:
            levels = np.clip(np.nan_to_num(image) * 255, 0, 255).astype(np.uint8)
            shown = cv2.applyColorMap(levels, cv2.COLORMAP_HOT)[..., ::-1]
        else:
            shown = image[..., :3]
        below = height - shown.shape[0]
        parts.append(np.pad(shown, ((0, below), (0, _GAP), (0, 0))).astype(np.uint8))
    return PreviewStrip(np.concatenate(parts, axis=1), preview.epoch, tuple(preview.images))


def _grid(images: npt.NDArray[np.uint8], columns: int) -> npt.NDArray[np.uint8]:
    count, height, width, planes = images.shape
    rows = -(-count // columns)
    cells = np.zeros((rows * columns, height + _GAP, width + _GAP, planes), np.uint8)
    cells[:count, :height, :width] = images
    cells = cells.reshape(rows, columns, *cells.shape[1:]).swapaxes(1, 2)
    return np.ascontiguousarray(cells.reshape(rows * (height + _GAP), -1, planes))


class TrainingLayers:
    """Shows pictures beside the viewer's photographs, each kind in one layer that is kept.

    Parameters
    ----------
    viewer
        The napari viewer.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layers: dict[str, Layer] = {}
        self._layer_queue = LayerAddQueue(viewer)

    def show_preview(self, strip: PreviewStrip) -> None:
        """Show a preview in place of the one before."""
        layer = self._show("preview", strip.pixels)
        layer.name = f"Training preview, epoch {strip.epoch + 1}"
        layer.metadata[METADATA_KEY] = LayerMetadata(
            kind="training preview", extra={"titles": strip.titles}
        )

    def show_patches(self, sheet: ContactSheet) -> None:
        """Show training patches, and their masks over them."""
        shown = self._show("patches", sheet.pixels)
        shown.name = "Training patches"
        if sheet.masks is None:
            self._remove("patch masks")
            return
        masks = self._show("patch masks", sheet.masks, like=shown)
        masks.name = f"Masks of the patches ({', '.join(sheet.classes)})"
        masks.colormap = _class_colormap(sheet.classes)
        masks.contour = 1

    def reset_view(self) -> None:
        """Fit the camera to all layers once they are added."""
        self._layer_queue.call_when_added(self._viewer.reset_view)

    def shutdown(self) -> None:
        """Add no more layers; is called when the widget is closed."""
        self._layer_queue.stop()

    def _show(self, kind: str, pixels: npt.NDArray[np.uint8], like: Layer | None = None) -> Layer:
        existing = self._layers.get(kind)
        if existing is not None and self._layer_queue.has(existing):
            existing.data = pixels
            return existing
        meta: dict[str, Any] = {"metadata": {METADATA_KEY: LayerMetadata(kind=f"training {kind}")}}
        placement = placement_of(like) if like is not None else self._beside(pixels.shape[:2])
        layer: Layer
        if pixels.ndim == 3:
            layer = Image(pixels, rgb=True, **meta, **placement)
        else:
            layer = Labels(pixels, **meta, **placement)
        self._layer_queue.add(layer)
        self._layers[kind] = layer
        return layer

    def _remove(self, kind: str) -> None:
        layer = self._layers.pop(kind, None)
        if layer is not None:
            self._layer_queue.remove(layer)

    def _beside(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Return the place at the right of all layers, in a size that can be seen beside them."""
        layers = list(self._viewer.layers)
        if not layers:
            return {}
        low, high = np.asarray(self._viewer.layers.extent.world)[:, -2:]
        span = high - low
        scale = max(float(span[0]) / 2 / max(shape[0], 1), 1e-9)
        place = np.array([low[0], high[1] + 0.03 * span[1]])
        similar = placement_of(layers[0])
        axes = {name: similar[name] for name in ("units", "axis_labels")}
        return {"scale": np.array([scale, scale]), "translate": place, **axes}


def _class_colormap(classes: tuple[str, ...]) -> Any:
    from napari.utils.colormaps import DirectLabelColormap

    colours: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
    colours.update({n: describe(code).colour for n, code in enumerate(classes, start=1)})
    return DirectLabelColormap(color_dict=colours)
