"""The classifier as a detector: a photograph in; score, heat map and regions out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from napari_fundus.backends.cam.architecture import OO_NETWORK
from napari_fundus.backends.cam.network_input import normalize_input, quantize_input, resize_recipe
from napari_fundus.backends.cam.options import DEFAULT_CHECKPOINT, CamOptions
from napari_fundus.backends.cam.weights import (
    load_architecture,
    load_network,
    load_recipe,
    load_temperature,
)
from napari_fundus.checkpoints import bundled_folder, models_folder
from napari_fundus.detector import DetectorOptions, Prediction
from napari_fundus.errors import CheckpointError, OptionsError
from napari_fundus.image import FundusImage
from napari_fundus.inference.network_cache import LoadedWeights
from napari_fundus.lesions import DR_EVIDENCE
from napari_fundus.network_detector import NetworkDetector
from napari_fundus.preprocessing import PreprocessedImage, Recipe
from napari_fundus.runtime.devices import Device
from napari_fundus.runtime.progress import Monitor

if TYPE_CHECKING:
    from torch import Tensor

_TINY = 1e-12
"""A map without any value above it shows nothing."""


class Cam(NetworkDetector):
    """A network says whether the whole picture is diseased; its activations show why."""

    name: ClassVar[str] = "cam"
    title: ClassVar[str] = "Classifier with heat map"
    summary: ClassVar[str] = "Probability of referable DR, and the regions that speak for it."
    lesions: ClassVar[tuple[str, ...]] = (DR_EVIDENCE,)
    licence: ClassVar[str] = "BSD-3-Clause"
    reference: ClassVar[str] = "Gondal et al. 2017, doi:10.1109/ICIP.2017.8296646"
    devices: ClassVar[frozenset[str]] = frozenset({"cpu", "cuda", "mps"})
    Options: ClassVar[type[DetectorOptions]] = CamOptions
    search_ranges: ClassVar[Mapping[str, str]] = {
        "learning_rate": "1e-4:1e-2:log",
        "optimizer": "sgd|adam|adamw",
        "batch_size": "8|16",
        "oversample": "true|false",
        "positive_weight": "1|2|2.5|3",
    }
    trainer: ClassVar[str] = "napari_fundus.backends.cam.training:train_cam"
    spec: ClassVar[str] = "napari_fundus.backends.cam.training_options:SPEC"

    def predict_with(
        self,
        weights: LoadedWeights,
        image: FundusImage,
        options: Any,
        *,
        device: Device,
        monitor: Monitor,
    ) -> Prediction:
        """Return the score and maps of `image`; see `NetworkDetector.predict_with`."""
        from napari_fundus.backends.cam import maps
        from napari_fundus.backends.cam.targets import image_scores, positive_grade

        checkpoint = weights.checkpoint
        recipe = load_recipe(checkpoint)
        network = weights.made("network", load_network).to(device.name)
        method = maps.resolve_method(options.method, network)
        architecture = load_architecture(checkpoint)
        target = architecture.target
        if options.multi_resolution and architecture.network != OO_NETWORK:
            raise OptionsError(
                "Option 'multi_resolution' is for weights of the o_O network; these are of "
                f"{architecture.network}."
            )
        temperature = load_temperature(checkpoint)
        odds = maps.LogOddsClassifier(network, target, temperature, monitor.check)
        sides = [recipe.side] + ([2 * recipe.side] if options.multi_resolution else [])
        found: list[Tensor] = []
        scores: dict[str, float] = {}
        prepared = recipe.apply(image, monitor.part(0.0, 0.3))
        for number, side in enumerate(sides):
            if number:
                prepared = resize_recipe(recipe, side).apply(image, monitor.part(0.6, 0.8))
            images = _tensor(prepared, recipe, device)
            logits, values = maps.activation_map(odds, images, method, layer=options.layer)
            if number == 0:
                # The probability is that of the side that was trained and calibrated.
                scores = image_scores(target, logits.cpu() / temperature)
            found.append(values.cpu().float())
            monitor.step(0.6 if number == 0 else 0.9, "looking")
        # Gradient methods leave gradients as large as the weights, which nobody needs.
        network.zero_grad(set_to_none=True)
        whole = prepared.to_original(maps.average_maps(found, sides[-1]).numpy())
        heat = np.clip(whole / max(float(whole.max()), _TINY), 0, 1).astype(np.float32)
        name = "any DR" if positive_grade(target) == 1 else "referable DR"
        regions = heat * np.float32(scores[name] if options.scale == "probability" else 1)
        return Prediction(
            probability={DR_EVIDENCE: regions},
            heatmap={DR_EVIDENCE: heat},
            image_score=scores,
            field_of_view=prepared.original_field_of_view,
            has_boxes=True,
        )

    def checkpoint_of(self, options: Any) -> str:
        """Return the name or path of the weights.

        Raises
        ------
        CheckpointError
            Those of the default are not installed.
        """
        ref = super().checkpoint_of(options)
        places = (bundled_folder(), models_folder())
        if ref == DEFAULT_CHECKPOINT and not any(
            (p / f"{ref}.safetensors").exists() for p in places
        ):
            raise CheckpointError(
                f"This installation has no weights {ref!r}. Train some on graded images with "
                "'napari-fundus train cam --data FOLDER -o RUN', and name them as "
                "checkpoint=RUN/best.safetensors, or put a file of that name into "
                f"{models_folder()}."
            )
        return ref


def _tensor(prepared: PreprocessedImage, recipe: Recipe, device: Device) -> Tensor:
    """Return the network's input, shape (1, 3, S, S), channels last in memory."""
    import torch

    pixels = torch.from_numpy(np.ascontiguousarray(quantize_input(prepared))[np.newaxis])
    return normalize_input(pixels.permute(0, 3, 1, 2).to(device.name), recipe)
