"""The window: everything of this package that knows of napari and Qt lives behind this door."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_fundus.image import FundusImage
from napari_fundus.results.detections import Detections
from napari_fundus.runtime.native_libraries import isolate_triton_llvm

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer

__all__ = ["add_detections", "open_demo"]

# Whoever comes through this door has a window, or will have one, and may run a network beside it.
isolate_triton_llvm()


def add_detections(
    viewer: ViewerModel, detections: Detections, source_layer: Image | None = None
) -> list[Layer]:
    """Show a result in `viewer` and return the new layers.

    Parameters
    ----------
    viewer
        A napari viewer, or its model alone.
    detections
        What a detector found.
    source_layer
        The image layer that it was found in: the new layers are placed exactly over it. Without
        one they are placed in pixels.

    Examples
    --------
    >>> import napari_fundus as nf
    >>> from napari.components import ViewerModel
    >>> viewer = ViewerModel()
    >>> photograph = viewer.add_image(nf.read_image(nf.sample_image_path()).pixels, name="eye")
    >>> layers = add_detections(viewer, nf.detect(photograph, "tophat"), photograph)
    >>> [layer.name for layer in layers if layer.visible]
    ['eye tophat: MA', 'eye tophat: HE', 'eye tophat: EX']
    """
    from napari_fundus.gui.layers.build import add_layers, detection_layers, with_source
    from napari_fundus.gui.layers.placement import placement_of

    placement = placement_of(source_layer) if source_layer is not None else {}
    name = source_layer.name if source_layer is not None else None
    tuples = detection_layers(detections, placement=placement, name=name)
    if source_layer is not None:
        tuples = [with_source(one, source_layer) for one in tuples]
    return add_layers(viewer, tuples)


def open_demo(
    image: FundusImage,
    detections: Detections,
    masks: Mapping[str, npt.NDArray[np.bool_]],
    *,
    run: bool = True,
) -> Any:
    """Open napari with an image, the experts' masks and a result, and wait until it is closed.

    Parameters
    ----------
    image
        The photograph.
    detections
        What a detector found in it.
    masks
        Class code to the experts' mask: bool, shape (H, W).
    run
        Whether to start the event loop; without it the viewer is returned at once.

    Returns
    -------
    napari.Viewer
        The viewer.
    """
    import napari

    from napari_fundus.gui.detect import DetectWidget
    from napari_fundus.gui.layers.build import add_layers, image_layer, truth_layers

    viewer = napari.Viewer(title="napari-fundus")
    (layer,) = add_layers(viewer, [image_layer(image)])
    add_layers(viewer, truth_layers(masks, name=image.name, visible=False, identity=image.identity))
    widget = DetectWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Detect lesions", area="right")
    widget.show_detections(detections, layer)
    viewer.layers.selection.active = layer
    if run:
        napari.run()
    return viewer
