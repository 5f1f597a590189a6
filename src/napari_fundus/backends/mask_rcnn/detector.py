"""The Mask R-CNN detector: a photograph in, each lesion as an object in its own pixels out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from napari_fundus.backends.mask_rcnn.options import MaskRCNNOptions
from napari_fundus.checkpoints import resolve_checkpoint
from napari_fundus.detector import Detector, DetectorOptions, Prediction, TrainingSpec
from napari_fundus.errors import CheckpointError
from napari_fundus.image import FundusImage
from napari_fundus.inference.card_preprocessing import preprocessing_from_card
from napari_fundus.inference.detect_objects import objects_to_original, run_objects
from napari_fundus.inference.network_cache import LoadedWeights, acquire_weights
from napari_fundus.lesions import DR_LESIONS
from napari_fundus.preprocessing import Recipe
from napari_fundus.preprocessing.network_input import to_network_input
from napari_fundus.results.objects import clip_objects, score_maps
from napari_fundus.runtime.devices import Device
from napari_fundus.runtime.monitor import Monitor

if TYPE_CHECKING:
    from napari_fundus.preprocessing.recipe import PreprocessedImage

__all__ = ["MaskRCNN"]


class MaskRCNN(Detector):
    """A Mask R-CNN tells lesions apart: each has a box, a mask, a class and a score of its own."""

    name: ClassVar[str] = "mask_rcnn"
    title: ClassVar[str] = "Mask R-CNN"
    summary: ClassVar[str] = "All four lesion classes as objects that can be counted and measured."
    lesions: ClassVar[tuple[str, ...]] = tuple(map(str, DR_LESIONS))
    licence: ClassVar[str] = "BSD-3-Clause"
    reference: ClassVar[str] = "He et al. 2017, doi:10.1109/ICCV.2017.322"
    devices: ClassVar[frozenset[str]] = frozenset({"cpu", "cuda"})
    Options: ClassVar[type[DetectorOptions]] = MaskRCNNOptions

    def predict(
        self, image: FundusImage, options: Any, *, device: Device, monitor: Monitor
    ) -> Prediction:
        """Return the lesions of `image` as objects, and as maps; see `Detector.predict`."""
        with acquire_weights(options.checkpoint, detector=self.name, device=device) as weights:
            return self._predict(weights, image, options, device, monitor)

    def _predict(
        self,
        weights: LoadedWeights,
        image: FundusImage,
        options: Any,
        device: Device,
        monitor: Monitor,
    ) -> Prediction:
        from napari_fundus.backends.mask_rcnn.network import load_network

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
        if len(planes) != architecture.planes:
            raise CheckpointError(
                f"{checkpoint.path}: its network takes {architecture.planes} planes, its recipe "
                f"gives {len(planes)}. The file's card is wrong; train or get it again."
            )
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
            checkpoint=checkpoint.card.name,
            checkpoint_sha256=checkpoint.sha256,
            objects=objects,
        )

    def weights_sha256(self, options: Any) -> str | None:
        """Return the hash of the file of weights."""
        return resolve_checkpoint(options.checkpoint, detector=self.name).sha256

    def training_spec(self) -> TrainingSpec:
        """Return the options of the training."""
        from napari_fundus.backends.mask_rcnn.training_options import (
            FIXED_BY_CHECKPOINT,
            TRAINING_DEFAULTS,
            MaskRCNNTrainingOptions,
        )

        return TrainingSpec(
            options=MaskRCNNTrainingOptions,
            defaults=TRAINING_DEFAULTS,
            of_the_weights=FIXED_BY_CHECKPOINT,
            schemes_unsupported_reason="A Mask R-CNN does not tell its convolutions in order.",
        )

    def train(self, **settings: Any) -> Iterator[Any]:
        """Train on a data set; the arguments are those of `training.train_mask_rcnn`."""
        from napari_fundus.backends.mask_rcnn.training import train_mask_rcnn

        return train_mask_rcnn(**settings)


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
