"""Training of the refinement network: triplets of patches, the hard ones more often."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_fundus.backends.multiscale.refiner import Refiner, RefinerArchitecture
from napari_fundus.backends.multiscale.stage_task import StageTask
from napari_fundus.backends.multiscale.stages import (
    checkpoint_stages,
    load_hypothesis,
    stage_architecture,
    stage_recipe,
)
from napari_fundus.backends.multiscale.training_options import MultiscaleTrainingOptions
from napari_fundus.backends.multiscale.triplets import TripletSampler
from napari_fundus.inference.fuse_batchnorm import fuse_conv_batchnorm
from napari_fundus.inference.fuse_maps import resize_map
from napari_fundus.inference.tiles import run_tiles
from napari_fundus.lesions import Lesion
from napari_fundus.metrics.precision_recall import count_pixels, pixel_metrics
from napari_fundus.preprocessing.network_input import (
    INPUT_FILL,
    PIXEL_MEAN,
    PIXEL_STD,
    normalize_pixels,
)
from napari_fundus.runtime.devices import choose_device
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training.loop.preflight import DataSummary
from napari_fundus.training.loop.settings import TrainingSettings
from napari_fundus.training.losses import triplet_loss
from napari_fundus.training.patches.data import TrainingSplit
from napari_fundus.training.patches.hard_negatives import HardNegativePool
from napari_fundus.training.patches.sampling_tasks import healthy_indices
from napari_fundus.training.patches.store import PatchStore, StoredImage
from napari_fundus.training.patches.task import PatchTask, PatchTaskSpec

_SUSPECT = 0.05
"""What the coarse hypothesis finds above this may be mined: the refiner is asked about more."""
_MIN_LESION_DISTANCE = 1 / 440
"""Share of the disc's diameter that centres without a lesion keep from any: 8 px at 1×."""
_SCORED_AT_ONCE = 256
_TILE = 1024


class RefinerTask(StageTask, PatchTask):
    """Triplets of patches from which a network learns what resembles a microaneurysm.

    Arguments are those of `PatchTask`; the coarse hypothesis of the stages trained before, where
    they have one, shows what is suspect.
    """

    options: MultiscaleTrainingOptions
    architecture: RefinerArchitecture

    def make_spec(self) -> PatchTaskSpec:
        """Return what the training is of; the stage's own weights, where there are some, decide."""
        options, known = self.options, self.initial
        if known is not None and self.stage in checkpoint_stages(known):
            recipe = stage_recipe(known, self.stage)
            architecture = RefinerArchitecture.model_validate(stage_architecture(known, self.stage))
        else:
            recipe = options.recipe()
            architecture = RefinerArchitecture(
                backbone=options.backbone,
                planes=options.planes,
                patch=options.refiner_patch | 1,
            )
        return PatchTaskSpec((Lesion.MA,), recipe, architecture, architecture.patch)

    def prepare(self, settings: TrainingSettings, monitor: Monitor) -> DataSummary:
        """Read both parts; look where the coarse hypothesis is mistaken; draw what to check on."""
        self._monitor = monitor
        facts = super().prepare(settings, monitor)
        self.triplets = cast("TripletSampler", self.sampler)
        suspects = self._suspects(self.validation_store)
        held_back = TripletSampler(
            self.validation_store, self.patch, suspects=suspects, apart=self._min_lesion_distance
        )
        count = 10 * max(self.options.validation_tiles, 1)
        rng = np.random.default_rng(settings.seed)
        self._held_back = np.concatenate(
            [
                held_back.draw_lesions(rng, count),
                held_back.draw_pool(rng, count, mined=self.options.mining).places,
            ]
        )
        self._validation_lesion_count = count
        self._validation_sampler = held_back
        self.pool = self._new_pool(settings.seed, 0)
        return facts

    def make_sampler(self, store: PatchStore, parts: TrainingSplit) -> TripletSampler:
        """Return the sampler of triplets."""
        healthy = healthy_indices(parts) if self.options.negatives == "healthy" else None
        return TripletSampler(
            store,
            self.patch,
            negative_image_indices=healthy,
            suspects=self._suspects(store, healthy),
            apart=self._min_lesion_distance,
        )

    @property
    def _min_lesion_distance(self) -> int:
        return max(round(_MIN_LESION_DISTANCE * self.recipe.disc_diameter), 1)

    def _suspects(
        self, store: PatchStore, chosen: range | None = None
    ) -> dict[int, npt.NDArray[np.bool_]]:
        """Return, by image, where the coarse hypothesis finds something; nothing without it."""
        if (
            self.initial is None
            or "coarse" not in checkpoint_stages(self.initial)
            or not self.options.mining
        ):
            return {}
        network = load_hypothesis(self.initial, "coarse")
        ratio = stage_recipe(self.initial, "coarse").disc_diameter / self.recipe.disc_diameter
        whole = nn.Sequential(fuse_conv_batchnorm(network), nn.Sigmoid())
        device = choose_device("auto", supported=("cpu", "cuda", "mps"))
        found = {}
        indices = list(chosen or range(len(store)))
        wanted = min(self.options.mined_images or len(indices), len(indices))
        for index in indices[:: -(-len(indices) // wanted)]:
            self._monitor.check()
            image = store[index]
            done = run_tiles(
                whole,
                _planes_at(image, ratio),
                outputs=1,
                tile=_TILE,
                halo=network.architecture.reach,
                multiple=network.architecture.multiple,
                fill=INPUT_FILL,
                device=device,
                monitor=Monitor(),
            )
            shape = image.bits.shape[0], image.bits.shape[1]
            found[index] = resize_map(done.maps[0], shape) > _SUSPECT
        return found

    def _new_pool(self, *key: int) -> HardNegativePool:
        return self.triplets.draw_pool(
            np.random.default_rng(key), self.options.pool, mined=self.options.mining
        )

    def start_epoch(self, network: nn.Module, epoch: int) -> None:
        """Every few epochs: draw a new pool, and score it in a stream of batches."""
        if not epoch or epoch % self.options.refresh:
            return
        pool = self._new_pool(int(torch.randint(1 << 30, ())), epoch)
        device = next(network.parameters()).device
        losses = []
        was_training = network.training
        network.eval()
        with torch.inference_mode():
            for start in range(0, len(pool.places), _SCORED_AT_ONCE):
                chosen = pool.places[start : start + _SCORED_AT_ONCE]
                logits, _ = network(normalize_pixels(self._cut(self.triplets, chosen).to(device)))
                # The cross-entropy of a patch without a lesion.
                losses.append(functional.softplus(logits.float()).cpu())
        network.train(was_training)
        self.pool = HardNegativePool(pool.places, torch.cat(losses).numpy())

    def state(self) -> Mapping[str, Tensor]:
        """Return the pool: a resumed training draws from the same one."""
        return {name: torch.from_numpy(array) for name, array in self.pool.state().items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back the pool."""
        self.pool = HardNegativePool(state["places"].numpy(), state["losses"].numpy())

    def batch(self, settings: TrainingSettings, key: tuple[int, ...]) -> Any:
        """Return anchors, positives and negatives, one after the other: uint8 (3·B, P, S, S)."""
        rng, count = np.random.default_rng(key), settings.batch_size
        centres = np.concatenate(
            [self.triplets.draw_lesions(rng, 2 * count), self.pool.draw(rng, count)]
        )
        images = self._cut(self.triplets, centres)
        return {"images": images, "masks": torch.zeros((len(images), 1, 1, 1), dtype=torch.uint8)}

    def _cut(self, sampler: TripletSampler, centres: npt.NDArray[np.int64]) -> Tensor:
        cut = sampler.store.extract_patches(*sampler.corners(centres), self.patch)
        return torch.from_numpy(cut.images).permute(0, 3, 1, 2)

    def augment(self, batch: Any) -> Any:
        """Turn, mirror and warp; every patch by itself gets other contrast and brightness."""
        blank = torch.zeros_like(batch["images"][:, :1])
        varied = super().augment({**batch, "masks": blank})
        return {"images": varied["images"], "masks": blank}

    def build(self) -> Refiner:
        """Return the network."""
        return Refiner(self.architecture)

    def steps_per_epoch(self, settings: TrainingSettings) -> int:
        """Return how many batches hold as many lesion pixels as there are, but 100 at most."""
        return max(min(len(self.triplets.lesions) // (2 * settings.batch_size), 100), 1)

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """Return triplet loss plus cross-entropy on anchors and negatives."""
        logits, embeddings = network(batch["images"])
        anchor, _, negative = logits.float().chunk(3)
        entropy = functional.binary_cross_entropy_with_logits(
            torch.cat([anchor, negative]),
            torch.cat([torch.ones_like(anchor), torch.zeros_like(negative)]),
        )
        if self.stage == "classify" or not self.options.triplet_weight:
            return entropy
        apart = triplet_loss(*embeddings.chunk(3), margin=self.options.margin)
        return entropy + self.options.triplet_weight * apart

    def probability(self, network: nn.Module, images: Tensor) -> Tensor:
        """Return the probability that the centre is a lesion, shape (B,)."""
        return cast("Tensor", network(images)[0]).sigmoid()

    def validation_steps(self, settings: TrainingSettings) -> int:
        """Return how many batches hold all patches held back."""
        return -(-len(self._held_back) // _SCORED_AT_ONCE)

    def validation_batch(self, settings: TrainingSettings, step: int) -> Any:
        """Return patches of both kinds, and which."""
        first = step * _SCORED_AT_ONCE
        chosen = self._held_back[first : first + _SCORED_AT_ONCE]
        ranks = first + np.arange(len(chosen))
        return {
            "images": self._cut(self._validation_sampler, chosen),
            "lesion": torch.from_numpy(ranks < self._validation_lesion_count),
        }

    def validate(self, network: nn.Module, batch: Any) -> Mapping[str, Tensor | float]:
        """Return the patches above each threshold."""
        return count_pixels(
            self.probability(network, normalize_pixels(batch["images"])), batch["lesion"]
        )

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Return figures of patches, as many with a lesion as without."""
        return pixel_metrics(sums)

    def preview(self, network: nn.Module) -> Mapping[str, npt.NDArray[Any]]:
        """Return nothing: a patch is judged as a whole."""
        return {}


def _planes_at(image: StoredImage, ratio: float) -> npt.NDArray[np.float32]:
    """Return a stored image as the input of a network of another scale."""
    height, width = (max(round(n * ratio), 1) for n in image.bits.shape)
    pixels = cv2.resize(image.pixels, (width, height), interpolation=cv2.INTER_AREA)
    planes = np.atleast_3d(pixels).transpose(2, 0, 1).astype(np.float32)
    return np.ascontiguousarray((planes - np.float32(PIXEL_MEAN)) / np.float32(PIXEL_STD))
