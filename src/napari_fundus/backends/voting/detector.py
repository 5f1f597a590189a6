"""The voting detector: a photograph in, a map of microaneurysms in its own pixels out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import ValidationError

from napari_fundus.backends.voting.options import VotingOptions
from napari_fundus.checkpoints import Checkpoint, resolve_checkpoint
from napari_fundus.detector import Detector, DetectorOptions, Prediction, TrainingSpec
from napari_fundus.errors import CheckpointError, OptionsError
from napari_fundus.image import FundusImage
from napari_fundus.inference.card_preprocessing import preprocessing_from_card
from napari_fundus.inference.network_cache import LoadedWeights, acquire_weights
from napari_fundus.inference.voting import run_voting
from napari_fundus.lesions import Lesion
from napari_fundus.preprocessing.network_input import INPUT_FILL, to_network_input
from napari_fundus.runtime.devices import Device
from napari_fundus.runtime.monitor import Monitor

if TYPE_CHECKING:
    from napari_fundus.backends.voting.network import PatchNetwork

__all__ = ["Voting", "load_network"]


class Voting(Detector):
    """A patch network slides over the picture; each pixel takes the mean of its patches' votes."""

    name: ClassVar[str] = "voting"
    title: ClassVar[str] = "Patch voting"
    summary: ClassVar[str] = "Microaneurysms by a patch network whose overlapping patches vote."
    lesions: ClassVar[tuple[str, ...]] = (Lesion.MA,)
    licence: ClassVar[str] = "BSD-3-Clause"
    reference: ClassVar[str] = "Chudzik et al. 2018, doi:10.1016/j.cmpb.2018.02.016"
    devices: ClassVar[frozenset[str]] = frozenset({"cpu", "cuda", "mps"})
    Options: ClassVar[type[DetectorOptions]] = VotingOptions
    search_ranges: ClassVar[Mapping[str, str]] = {
        "learning_rate": "1e-4:1e-2:log",
        "width": "8|16|24",
        "positive_share": "0.4:0.9",
    }

    def predict(
        self, image: FundusImage, options: Any, *, device: Device, monitor: Monitor
    ) -> Prediction:
        """Return the map of `image`; see `Detector.predict`."""
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
        network = weights.made("network", load_network)
        recipe = preprocessing_from_card(checkpoint)
        patch = network.architecture.patch
        stride = options.stride or max(patch // 4, 1)
        if stride > patch:
            raise OptionsError(
                f"Option 'stride' = {stride}: these weights see patches of {patch} px, and a "
                f"longer stride leaves gaps. Choose 1 to {patch}."
            )
        prepared = recipe.apply(image, monitor.part(0.0, 0.1))
        planes = to_network_input(prepared)
        if len(planes) != network.architecture.planes:
            raise CheckpointError(
                f"{checkpoint.path}: its network takes {network.architecture.planes} planes, its "
                f"recipe gives {len(planes)}. The file's card is wrong; train or get it again."
            )
        votes = run_voting(
            network,
            planes,
            patch=patch,
            stride=stride,
            inside=prepared.field_of_view,
            fill=INPUT_FILL,
            device=device,
            batch=options.batch,
            monitor=monitor.part(0.1, 0.97),
        )
        return Prediction(
            probability={
                lesion: np.clip(prepared.to_original(values), 0, 1)
                for lesion, values in zip(checkpoint.card.lesions, votes.probability, strict=True)
            },
            field_of_view=prepared.original_field_of_view,
            checkpoint=checkpoint.card.name,
            checkpoint_sha256=checkpoint.sha256,
            precision=votes.precision,
        )

    def weights_sha256(self, options: Any) -> str | None:
        """Return the hash of the file of weights."""
        return resolve_checkpoint(options.checkpoint, detector=self.name).sha256

    def training_spec(self) -> TrainingSpec:
        """Return the options of the training."""
        from napari_fundus.backends.voting.training_options import (
            FIXED_BY_CHECKPOINT,
            VotingTrainingOptions,
        )

        return TrainingSpec(options=VotingTrainingOptions, of_the_weights=FIXED_BY_CHECKPOINT)

    def train(self, **settings: Any) -> Iterator[Any]:
        """Train on a data set; the arguments are those of `training.train_voting`."""
        from napari_fundus.backends.voting.training import train_voting

        return train_voting(**settings)


def load_network(checkpoint: Checkpoint) -> PatchNetwork:
    """Return the network that `checkpoint` holds, ready for inference.

    Raises
    ------
    CheckpointError
        The card tells of another network than the weights are for.
    """
    from napari_fundus.backends.voting.network import PatchNetwork

    try:
        network = PatchNetwork.from_card(checkpoint.card.architecture)
        network.load_state_dict(dict(checkpoint.tensors))
    except (ValidationError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{checkpoint.path} does not hold a patch network as its card tells: {reason}"
        ) from error
    if len(checkpoint.card.lesions) != network.architecture.outputs:
        raise CheckpointError(
            f"{checkpoint.path}: its card names {len(checkpoint.card.lesions)} lesion classes, "
            f"its network gives {network.architecture.outputs} maps."
        )
    return network.eval()
