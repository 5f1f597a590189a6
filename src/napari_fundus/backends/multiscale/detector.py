"""The multi-scale detector: two hypotheses, fused, and refined where they are suspect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from napari_fundus.backends.multiscale.options import MultiscaleOptions
from napari_fundus.backends.multiscale.stages import (
    Stage,
    checkpoint_stages,
    load_hypothesis,
    load_refiner,
    stage_recipe,
)
from napari_fundus.checkpoints import Checkpoint
from napari_fundus.detector import DetectorOptions, Prediction
from napari_fundus.image import FundusImage
from napari_fundus.inference.fuse_batchnorm import fuse_conv_batchnorm
from napari_fundus.inference.fuse_maps import blend_log_odds, fuse, resize_map
from napari_fundus.inference.load_network import check_planes
from napari_fundus.inference.network_cache import LoadedWeights
from napari_fundus.inference.sliding_window import run_sliding_window
from napari_fundus.inference.tiles import run_tiles
from napari_fundus.lesions import Lesion
from napari_fundus.network_detector import NetworkDetector
from napari_fundus.preprocessing.network_input import INPUT_FILL, to_network_input
from napari_fundus.runtime.devices import Device
from napari_fundus.runtime.progress import Monitor

if TYPE_CHECKING:
    from torch import Tensor, nn

    from napari_fundus.backends.multiscale.frrn import FRRNArchitecture
    from napari_fundus.backends.multiscale.refiner import RefinerArchitecture
    from napari_fundus.preprocessing.recipe import PreprocessedImage

Float = npt.NDArray[np.float32]

_REFINER: dict[str, Stage] = {"triplet": "refine", "cls": "classify"}


class Multiscale(NetworkDetector):
    """A network a scale makes hypotheses; a patch classifier judges them anew."""

    name: ClassVar[str] = "multiscale"
    title: ClassVar[str] = "Two scales, refined"
    summary: ClassVar[str] = (
        "Microaneurysms by two networks at different scales, fused, and refined patch by patch."
    )
    lesions: ClassVar[tuple[str, ...]] = (Lesion.MA,)
    licence: ClassVar[str] = "BSD-3-Clause"
    reference: ClassVar[str] = "Sarhan et al. 2019, https://arxiv.org/abs/1904.12732"
    devices: ClassVar[frozenset[str]] = frozenset({"cpu", "cuda", "mps"})
    Options: ClassVar[type[DetectorOptions]] = MultiscaleOptions
    search_ranges: ClassVar[Mapping[str, str]] = {
        "learning_rate": "1e-4:1e-2:log",
        "width": "0.25|0.333|0.5",
    }
    trainer: ClassVar[str] = "napari_fundus.backends.multiscale.training:train_multiscale"
    spec: ClassVar[str] = "napari_fundus.backends.multiscale.training_options:SPEC"

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
        work = StagePipeline(image, weights, options, device)
        if options.result in ("fine", "coarse"):
            result = work.hypothesis(options.result, monitor.part(0.0, 0.97))
        else:
            result = work.fused(options.fusion, monitor.part(0.0, 0.6))
            if options.result == "refined":
                stage = _REFINER[options.refiner]
                result = work.refined(stage, options.fusion, monitor.part(0.6, 0.97))
        return Prediction(
            probability={Lesion.MA: work.to_original(result)},
            stages=(
                {title: work.to_original(m) for title, m in work.stages() if m is not result}
                if options.stages
                else {}
            ),
            field_of_view=work.prepared("fine").original_field_of_view,
            precision=work.precision,
        )


def stage_titles(scales: Mapping[str, float]) -> dict[str, str]:
    """Return what people call the maps of the single scales: ``"1×"`` is the finer one."""
    finest = max(scales.values())
    return {stage: f"MA {value / finest:g}×" for stage, value in scales.items()}


class StagePipeline:
    """The maps of one image, each made once, all at the finest scale in use.

    Parameters
    ----------
    image
        The photograph.
    weights
        All stages' weights.
    options
        How far to refine, and how to tile.
    device
        Where to compute.

    Attributes
    ----------
    precision
        Arithmetic used last.
    """

    def __init__(
        self, image: FundusImage, weights: LoadedWeights, options: MultiscaleOptions, device: Device
    ) -> None:
        self.image, self.weights = image, weights
        self.checkpoint = checkpoint = weights.checkpoint
        self.options, self.device = options, device
        self.precision = "float32"
        self._prepared: dict[float, PreprocessedImage] = {}
        self._maps: dict[str, Float] = {}
        present = checkpoint_stages(checkpoint)
        self._scale = {s: stage_recipe(checkpoint, s).disc_diameter for s in present}
        self._titles = stage_titles(
            {s: d for s, d in self._scale.items() if s in ("fine", "coarse")}
        )

    def prepared(self, stage: Stage) -> PreprocessedImage:
        """Return the photograph as a stage sees it; stages of one scale share it."""
        stage = stage if stage in self._scale else next(iter(self._scale))
        recipe = stage_recipe(self.checkpoint, stage)
        if recipe.disc_diameter not in self._prepared:
            self._prepared[recipe.disc_diameter] = recipe.apply(self.image)
        return self._prepared[recipe.disc_diameter]

    def planes(self, stage: Stage, planes: int) -> Float:
        """Return a stage's input.

        Raises
        ------
        CheckpointError
            Its network takes another number of planes.
        """
        found = to_network_input(self.prepared(stage))
        check_planes(self.checkpoint, found, planes, f"network of stage {stage!r}")
        return found

    def hypothesis(self, stage: Stage, monitor: Monitor) -> Float:
        """Return one scale's map."""
        if stage not in self._maps:
            network, architecture = self.weights.made(stage, partial(_hypothesis, stage=stage))
            done = run_tiles(
                network,
                self.planes(stage, architecture.planes),
                outputs=architecture.outputs,
                tile=self.options.tile,
                halo=architecture.reach,
                multiple=architecture.multiple,
                inside=self.prepared(stage).field_of_view,
                fill=INPUT_FILL,
                device=self.device,
                monitor=monitor,
            )
            self.precision = done.precision
            self._maps[stage] = resize_map(done.maps[0], self.shape)
        return self._maps[stage]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width at the finer scale."""
        height, width = self.prepared("fine").field_of_view.shape
        return height, width

    def fused(self, mean: Any, monitor: Monitor) -> Float:
        """Return the mean of both scales' maps."""
        if f"fused {mean}" not in self._maps:
            fine = self.hypothesis("fine", monitor.part(0.0, 0.8))
            coarse = self.hypothesis("coarse", monitor.part(0.8, 1.0))
            self._maps[f"fused {mean}"] = fuse(fine, coarse, mean)
        return self._maps[f"fused {mean}"]

    def refined(
        self, stage: Stage, mean: Any, monitor: Monitor, *, trust: float | None = None
    ) -> Float:
        """Return the mean of both scales' maps, each judged anew where it is suspect.

        Where a hypothesis is not above the bound the classifier does not look, and the hypothesis
        stands. (The paper leaves open what stands there.) `trust` is that of the options unless
        it is given.
        """
        trust = self.options.trust if trust is None else trust
        key = f"{stage} {mean} {trust}"
        if key not in self._maps:
            fine = self.hypothesis("fine", monitor.part(0.0, 0.01))
            coarse = self.hypothesis("coarse", monitor.part(0.01, 0.02))
            bound = np.float32(self.options.suspect)
            judged = self._judged(stage, (fine > bound) | (coarse > bound), monitor.part(0.02, 1.0))
            first, second = (
                blend_log_odds(h, judged, where=h > bound, trust=trust) for h in (fine, coarse)
            )
            self._maps[key] = fuse(first, second, mean)
        return self._maps[key]

    def _judged(self, stage: Stage, suspect: npt.NDArray[np.bool_], monitor: Monitor) -> Float:
        """Return the classifier's map, made once for both means."""
        if f"{stage} alone" not in self._maps:
            network, architecture = self.weights.made(stage, partial(_refiner, stage=stage))
            self._maps[f"{stage} alone"] = run_sliding_window(
                network,
                self.planes(stage, architecture.planes),
                suspect,
                patch=architecture.patch,
                stride=self.options.stride,
                batch=self.options.batch,
                fill=INPUT_FILL,
                device=self.device,
                monitor=monitor,
            )
        return self._maps[f"{stage} alone"]

    def stages(self) -> Iterator[tuple[str, Float]]:
        """Yield title and map of all that was made on the way, in that order."""
        for key, values in self._maps.items():
            if key in self._titles:
                yield self._titles[key], values
            elif key.startswith("fused"):
                yield "MA fused", values

    def to_original(self, values: Float) -> Float:
        """Bring a map back to the photograph's own pixels."""
        return np.clip(self.prepared("fine").to_original(values), 0, 1)


def _hypothesis(checkpoint: Checkpoint, stage: Stage) -> tuple[nn.Module, FRRNArchitecture]:
    """Return a hypothesis network as it runs: normalizations folded, probabilities as outputs."""
    from torch import nn

    network = load_hypothesis(checkpoint, stage)
    return nn.Sequential(fuse_conv_batchnorm(network), nn.Sigmoid()), network.architecture


def _refiner(checkpoint: Checkpoint, stage: Stage) -> tuple[nn.Module, RefinerArchitecture]:
    """Return a refiner as a network that gives logits alone, its normalizations folded."""
    from torch import nn

    refiner = load_refiner(checkpoint, stage)

    class LogitsOnly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.refiner = fuse_conv_batchnorm(refiner)

        def forward(self, patches: Tensor) -> Tensor:
            found: Tensor = self.refiner(patches)[0]
            return found

    return LogitsOnly(), refiner.architecture
