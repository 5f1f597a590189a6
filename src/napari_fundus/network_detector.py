"""Bases of detectors whose network is read from a file of weights, and can be trained."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from napari_fundus.checkpoints import Checkpoint, resolve_checkpoint
from napari_fundus.detector import Detector, Prediction, TrainingSpec
from napari_fundus.image import FundusImage
from napari_fundus.inference.card_preprocessing import preprocessing_from_card
from napari_fundus.inference.network_cache import LoadedWeights, acquire_weights
from napari_fundus.inference.tiles import run_tiles
from napari_fundus.preprocessing.network_input import INPUT_FILL, to_network_input
from napari_fundus.runtime.devices import Device
from napari_fundus.runtime.progress import Monitor

if TYPE_CHECKING:
    from torch import nn


class NetworkDetector(Detector):
    """A detector with weights: a subclass names its training, and predicts with loaded weights.

    Its `Options` have a field ``checkpoint``: see `napari_fundus.detector.checkpoint_field`.

    Attributes
    ----------
    trainer
        Where the `napari_fundus.training.loop.trainer.Trainer` is, such as
        ``"my_package.training:train"``. It is imported when it is needed, since it imports torch.
    spec
        Where the `TrainingSpec` is, such as ``"my_package.options:SPEC"``: what forms and the
        command line show of the training. Without it they show the trainer's options.
    """

    trainer: ClassVar[str] = ""
    spec: ClassVar[str] = ""

    @abstractmethod
    def predict_with(
        self,
        weights: LoadedWeights,
        image: FundusImage,
        options: Any,
        *,
        device: Device,
        monitor: Monitor,
    ) -> Prediction:
        """Return the maps of `image`; name and hash of the checkpoint are added to them.

        Parameters
        ----------
        weights
            The checkpoint that the options name. ``weights.made("network", load_network)`` returns
            the network, which is built once and used again for the next image.
        image, options, device, monitor
            As of `Detector.predict`.
        """

    def checkpoint_of(self, options: Any) -> str:
        """Return the name or path of the weights that `options` ask for."""
        name: str = options.checkpoint
        return name

    def predict(
        self, image: FundusImage, options: Any, *, device: Device, monitor: Monitor
    ) -> Prediction:
        """Return the maps of `image`; see `Detector.predict`."""
        ref = self.checkpoint_of(options)
        with acquire_weights(ref, detector=self.name, device=device) as weights:
            prediction = self.predict_with(weights, image, options, device=device, monitor=monitor)
        checkpoint = weights.checkpoint
        return replace(
            prediction, checkpoint=checkpoint.card.name, checkpoint_sha256=checkpoint.sha256
        )

    def weights_sha256(self, options: Any) -> str | None:
        """Return the hash of the file of weights."""
        return resolve_checkpoint(self.checkpoint_of(options), detector=self.name).sha256

    @property
    def trainable(self) -> bool:
        """Whether there is a training."""
        return bool(self.trainer)

    def training_spec(self) -> TrainingSpec | None:
        """Return the settings of the training."""
        if not self.spec and not self.trainer:
            return None
        named = resolve_name(self.spec or self.trainer)
        if isinstance(named, TrainingSpec):
            return named
        return TrainingSpec(options=named.options, defaults=named.defaults)

    def train(self, **settings: Any) -> Iterator[Any]:
        """Train on a data set; the arguments are those of `Trainer.__call__`."""
        if not self.trainer:
            return super().train(**settings)
        events: Iterator[Any] = resolve_name(self.trainer)(**settings)
        return events


class PixelDetector(NetworkDetector):
    """A detector whose fully convolutional network returns logits of each class for each pixel.

    The photograph is prepared as the checkpoint's card describes, and the network runs over it in
    overlapping tiles.

    Attributes
    ----------
    reach
        Pixels around a pixel that its logits depend on: half the receptive field.
    multiple
        Height and width of the network's input are multiples of it.
    tile
        Side of the tiles in pixels.
    """

    reach: ClassVar[int]
    multiple: ClassVar[int] = 1
    tile: ClassVar[int] = 1024

    @abstractmethod
    def load_network(self, checkpoint: Checkpoint) -> nn.Module:
        """Return the network of a checkpoint: float (1, P, H, W) to logits (1, K, H, W).

        `napari_fundus.inference.load_network.network_of_card` builds it and checks the card.
        """

    def predict_with(
        self,
        weights: LoadedWeights,
        image: FundusImage,
        options: Any,
        *,
        device: Device,
        monitor: Monitor,
    ) -> Prediction:
        """Return a map of each class that the checkpoint's card names."""
        card = weights.checkpoint.card
        prepared = preprocessing_from_card(weights.checkpoint).apply(image, monitor.part(0.0, 0.1))
        done = run_tiles(
            weights.made("network", self._with_sigmoid),
            to_network_input(prepared),
            outputs=len(card.lesions),
            tile=self.tile,
            halo=self.reach,
            multiple=self.multiple,
            inside=prepared.field_of_view,
            fill=INPUT_FILL,
            device=device,
            monitor=monitor.part(0.1, 0.95),
        )
        return Prediction(
            {
                code: np.clip(prepared.to_original(values), 0, 1)
                for code, values in zip(card.lesions, done.maps, strict=True)
            },
            field_of_view=prepared.original_field_of_view,
            precision=done.precision,
        )

    def _with_sigmoid(self, checkpoint: Checkpoint) -> nn.Module:
        from torch import nn

        return nn.Sequential(self.load_network(checkpoint), nn.Sigmoid())
