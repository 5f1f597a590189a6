"""The U-Net detector: a photograph in, a map of each lesion class in its own pixels out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from napari_fundus.backends.unet.optic_disc import apply_optic_disc
from napari_fundus.backends.unet.options import UNetOptions
from napari_fundus.backends.unet.tiled_inference import predict_logits
from napari_fundus.checkpoints import Checkpoint, resolve_checkpoint
from napari_fundus.detector import Detector, DetectorOptions, Prediction, TrainingSpec
from napari_fundus.errors import CheckpointError
from napari_fundus.image import FundusImage
from napari_fundus.inference.card_preprocessing import preprocessing_from_card
from napari_fundus.inference.fuse_batchnorm import fuse_conv_batchnorm
from napari_fundus.inference.network_cache import LoadedWeights, acquire_weights
from napari_fundus.lesions import DR_LESIONS, Lesion
from napari_fundus.preprocessing import Recipe
from napari_fundus.preprocessing.network_input import to_network_input
from napari_fundus.runtime.devices import Device
from napari_fundus.runtime.monitor import Monitor

if TYPE_CHECKING:
    from torch import nn

    from napari_fundus.backends.unet.network import UNetArchitecture

__all__ = ["UNet", "load_network"]

_FLIPS: dict[str, tuple[tuple[int, ...], ...]] = {
    "none": ((),),
    "mirror": ((), (2,)),
    "all": ((), (2,), (1,), (1, 2)),
}
"""Axes of (K, H, W) along which the picture is mirrored, for each option."""


class UNet(Detector):
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

    def predict(
        self, image: FundusImage, options: Any, *, device: Device, monitor: Monitor
    ) -> Prediction:
        """Return the maps of `image`; see `Detector.predict`."""
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
        checkpoint = weights.checkpoint
        network, architecture = weights.made("network", _load_fused_network)
        recipe = _scaled(preprocessing_from_card(checkpoint), options.scale)
        prepared = recipe.apply(image, monitor.part(0.0, 0.1))
        planes = to_network_input(prepared)
        if len(planes) != architecture.planes:
            raise CheckpointError(
                f"{checkpoint.path}: its network takes {architecture.planes} planes, its recipe "
                f"gives {len(planes)}. The file's card is wrong; train or get it again."
            )
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
            checkpoint=checkpoint.card.name,
            checkpoint_sha256=checkpoint.sha256,
            precision=done.precision,
        )

    def weights_sha256(self, options: Any) -> str | None:
        """Return the hash of the file of weights."""
        return resolve_checkpoint(options.checkpoint, detector=self.name).sha256

    def training_spec(self) -> TrainingSpec:
        """Return the options of the training."""
        from napari_fundus.backends.unet.training_options import (
            FIXED_BY_CHECKPOINT,
            TRAINING_DEFAULTS,
            UNetTrainingOptions,
        )

        return TrainingSpec(
            options=UNetTrainingOptions,
            defaults=TRAINING_DEFAULTS,
            of_the_weights=FIXED_BY_CHECKPOINT,
            schemes_unsupported_reason=(
                "A U-Net does not tell its convolutions in order: all are trained."
            ),
        )

    def train(self, **settings: Any) -> Iterator[Any]:
        """Train on a data set; the arguments are those of `training.train_unet`."""
        from napari_fundus.backends.unet.training import train_unet

        return train_unet(**settings)


def load_network(checkpoint: Checkpoint) -> tuple[nn.Module, UNetArchitecture]:
    """Return the network that `checkpoint` holds, ready for inference, and what it is built from.

    Raises
    ------
    CheckpointError
        The card tells of another network than the weights are for.
    """
    from napari_fundus.backends.unet.network import UNetArchitecture, build_network

    try:
        architecture = UNetArchitecture.model_validate(checkpoint.card.architecture)
        network = build_network(architecture)
        network.load_state_dict(dict(checkpoint.tensors))
    except (ValidationError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:400]
        raise CheckpointError(
            f"{checkpoint.path} does not hold a U-Net as its card tells: {reason}"
        ) from error
    if len(checkpoint.card.lesions) != architecture.outputs:
        raise CheckpointError(
            f"{checkpoint.path}: its card names {len(checkpoint.card.lesions)} classes, its "
            f"network gives {architecture.outputs} maps."
        )
    return network.eval(), architecture


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
