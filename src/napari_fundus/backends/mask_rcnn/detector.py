"""The Mask R-CNN detector: a photograph in, each lesion as an object in its own pixels out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from napari_fundus.backends.mask_rcnn.options import MaskRCNNOptions
from napari_fundus.backends.mask_rcnn.weights import load_network
from napari_fundus.detector import DetectorOptions, Prediction
from napari_fundus.image import FundusImage
from napari_fundus.inference.card_preprocessing import preprocessing_from_card
from napari_fundus.inference.detect_objects import objects_to_original, run_objects
from napari_fundus.inference.load_network import check_planes
from napari_fundus.inference.network_cache import LoadedWeights
from napari_fundus.lesions import DR_LESIONS
from napari_fundus.network_detector import NetworkDetector
from napari_fundus.preprocessing import Recipe
from napari_fundus.preprocessing.network_input import to_network_input
from napari_fundus.results.objects import clip_objects, score_maps
from napari_fundus.runtime.devices import Device
from napari_fundus.runtime.progress import Monitor

if TYPE_CHECKING:
    from napari_fundus.preprocessing.recipe import PreprocessedImage


class MaskRCNN(NetworkDetector):
    """A Mask R-CNN separates lesions: each has a box, a mask, a class and a score of its own."""

    name: ClassVar[str] = "mask_rcnn"
    title: ClassVar[str] = "Mask R-CNN"
    summary: ClassVar[str] = "All four lesion classes as objects that can be counted and measured."
    lesions: ClassVar[tuple[str, ...]] = tuple(map(str, DR_LESIONS))
    licence: ClassVar[str] = "BSD-3-Clause"
    reference: ClassVar[str] = "He et al. 2017, doi:10.1109/ICCV.2017.322"
    devices: ClassVar[frozenset[str]] = frozenset({"cpu", "cuda"})
    Options: ClassVar[type[DetectorOptions]] = MaskRCNNOptions
    trainer: ClassVar[str] = "napari_fundus.backends.mask_rcnn.training:train_mask_rcnn"
    spec: ClassVar[str] = "napari_fundus.backends.mask_rcnn.training_options:SPEC"

    def predict_with(
        self,
        weights: LoadedWeights,
        image: FundusImage,
        options: Any,
        *,
        device: Device,
        monitor: Monitor,
    ) -> Prediction:
        """Return the lesions of `image`; see `NetworkDetector.predict_with`."""
        checkpoint = weights.checkpoint
        network, architecture = weights.made("network", load_network)
        heads: Any = network.roi_heads
        heads.score_thresh = float(np.nextafter(np.float32(options.keep_from), np.float32(-1)))
        heads.nms_thresh = options.nms
        heads.detections_per_img = options.max_detections
        prepared = _prepared(
            preprocessing_from_card(checkpoint), image, options.working_size, monitor.part(0.0, 0.1)
        )
        planes = to_network_input(prepared)
        check_planes(checkpoint, planes, architecture.planes)
        lesions = checkpoint.card.lesions
        found = run_objects(
            network,
            planes,
            lesions=lesions,
            tile=options.tile,
            overlap=options.overlap,
            least_score=options.keep_from,
            inside=prepared.field_of_view,
            device=device,
            monitor=monitor.part(0.1, 0.95),
        )
        field_of_view = prepared.original_field_of_view
        objects = clip_objects(objects_to_original(found.objects, prepared.geometry), field_of_view)
        return Prediction(
            probability=score_maps(objects, lesions, image.shape),
            field_of_view=field_of_view,
            has_boxes=True,
            objects=objects,
        )


def _prepared(
    recipe: Recipe, image: FundusImage, working_size: str, monitor: Monitor
) -> PreprocessedImage:
    """Prepare the photograph as the weights know it, or without resizing.

    The blur of the enhancement then grows with the picture, so that it takes away the same.
    """
    prepared = recipe.apply(image, monitor)
    if working_size == "trained" or recipe.resize == "none":
        return prepared
    scale = float(np.mean(prepared.geometry.scale))
    sigma = float(np.clip(recipe.sigma / scale, 0.5, 500))
    native = recipe.model_copy(update={"resize": "none", "sigma": sigma})
    return native.apply(image, monitor)
