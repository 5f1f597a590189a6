"""The U-Net detector: a photograph in, a map of each lesion class in its own pixels out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from napari_fundus.backends.unet.optic_disc import apply_optic_disc
from napari_fundus.backends.unet.options import UNetOptions
from napari_fundus.backends.unet.tiled_inference import predict_logits
from napari_fundus.backends.unet.weights import load_network
from napari_fundus.checkpoints import Checkpoint
from napari_fundus.detector import DetectorOptions, Prediction
from napari_fundus.image import FundusImage
from napari_fundus.inference.card_preprocessing import preprocessing_from_card
from napari_fundus.inference.fuse_batchnorm import fuse_conv_batchnorm
from napari_fundus.inference.load_network import check_planes
from napari_fundus.inference.network_cache import LoadedWeights
from napari_fundus.lesions import DR_LESIONS, Lesion
from napari_fundus.network_detector import NetworkDetector
from napari_fundus.preprocessing import Recipe
from napari_fundus.preprocessing.network_input import to_network_input
from napari_fundus.runtime.devices import Device
from napari_fundus.runtime.progress import Monitor

if TYPE_CHECKING:
    from torch import nn

    from napari_fundus.backends.unet.network import UNetArchitecture

_FLIPS: dict[str, tuple[tuple[int, ...], ...]] = {
    "none": ((),),
    "mirror": ((), (2,)),
    "all": ((), (2,), (1,), (1, 2)),
}
"""Axes of (K, H, W) along which the picture is mirrored, for each option."""


class UNet(NetworkDetector):
    """A U-Net gives every pixel a probability for each class of lesion, in one pass."""

    name: ClassVar[str] = "unet"
    title: ClassVar[str] = "U-Net"
    summary: ClassVar[str] = "All four lesion classes, and the optic disc, pixel by pixel."
    lesions: ClassVar[tuple[str, ...]] = tuple(map(str, DR_LESIONS))
    licence: ClassVar[str] = "BSD-3-Clause"
    reference: ClassVar[str] = "Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28"
    devices: ClassVar[frozenset[str]] = frozenset({"cpu", "cuda", "mps"})
    Options: ClassVar[type[DetectorOptions]] = UNetOptions
    search_ranges: ClassVar[Mapping[str, str]] = {
        "learning_rate": "1e-4:1e-2:log",
        "filters": "[16,32,64,96,128]|[24,48,96,144,192]|[32,64,128,192,256]",
    }
    trainer: ClassVar[str] = "napari_fundus.backends.unet.training:train_unet"
    spec: ClassVar[str] = "napari_fundus.backends.unet.training_options:SPEC"

    def predict_with(
        self,
        weights: LoadedWeights,
        image: FundusImage,
        options: Any,
        *,
        device: Device,
        monitor: Monitor,
    ) -> Prediction:
        """Return the maps of `image`; see `NetworkDetector.predict_with`."""
        checkpoint = weights.checkpoint
        network, architecture = weights.made("network", _load_fused_network)
        recipe = _scaled(preprocessing_from_card(checkpoint), options.scale)
        prepared = recipe.apply(image, monitor.part(0.0, 0.1))
        planes = to_network_input(prepared)
        check_planes(checkpoint, planes, architecture.planes)
        flips = _FLIPS[options.flips]
        total: npt.NDArray[np.float32] | None = None
        for number, axes in enumerate(flips):
            part = monitor.part(
                0.1 + 0.8 * number / len(flips), 0.1 + 0.8 * (number + 1) / len(flips)
            )
            done = predict_logits(
                network,
                architecture,
                np.flip(planes, axes),
                inside=np.flip(prepared.field_of_view, tuple(axis - 1 for axis in axes)),
                tile=options.tile,
                device=device,
                monitor=part,
            )
            maps = done.probability(architecture.coarse_share or 0.5, architecture.offset or 0.0)
            turned = np.flip(maps, axes)
            total = turned if total is None else total + turned
        assert total is not None  # noqa: S101  # there is always the picture itself
        mean = dict(zip(checkpoint.card.lesions, total / len(flips), strict=True))
        found = apply_optic_disc(mean, prepared.field_of_view, exclude=options.exclude_disc)
        if not options.optic_disc:
            found.pop(Lesion.OD, None)
        return Prediction(
            probability={
                code: np.clip(prepared.to_original(values), 0, 1) for code, values in found.items()
            },
            field_of_view=prepared.original_field_of_view,
            precision=done.precision,
        )


def _load_fused_network(checkpoint: Checkpoint) -> tuple[nn.Module, UNetArchitecture]:
    """Return the network as it runs: with normalizations folded."""
    network, architecture = load_network(checkpoint)
    return fuse_conv_batchnorm(network), architecture


def _scaled(recipe: Recipe, scale: float) -> Recipe:
    """Return the recipe at a finer or coarser working scale; the blur keeps its size."""
    if scale == 1:
        return recipe
    return recipe.model_copy(
        update={"disc_diameter": recipe.disc_diameter * scale, "sigma": recipe.sigma * scale}
    )
