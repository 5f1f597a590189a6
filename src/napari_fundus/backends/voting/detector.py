"""The voting detector: a photograph in, a map of microaneurysms in its own pixels out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from napari_fundus.backends.voting.options import VotingOptions
from napari_fundus.backends.voting.weights import load_network
from napari_fundus.detector import DetectorOptions, Prediction
from napari_fundus.errors import OptionsError
from napari_fundus.image import FundusImage
from napari_fundus.inference.card_preprocessing import preprocessing_from_card
from napari_fundus.inference.load_network import check_planes
from napari_fundus.inference.network_cache import LoadedWeights
from napari_fundus.inference.voting import run_voting
from napari_fundus.lesions import Lesion
from napari_fundus.network_detector import NetworkDetector
from napari_fundus.preprocessing.network_input import INPUT_FILL, to_network_input
from napari_fundus.runtime.devices import Device
from napari_fundus.runtime.progress import Monitor


class Voting(NetworkDetector):
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
    trainer: ClassVar[str] = "napari_fundus.backends.voting.training:train_voting"
    spec: ClassVar[str] = "napari_fundus.backends.voting.training_options:SPEC"

    def predict_with(
        self,
        weights: LoadedWeights,
        image: FundusImage,
        options: Any,
        *,
        device: Device,
        monitor: Monitor,
    ) -> Prediction:
        """Return the map of `image`; see `NetworkDetector.predict_with`."""
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
        check_planes(checkpoint, planes, network.architecture.planes)
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
            precision=votes.precision,
        )
