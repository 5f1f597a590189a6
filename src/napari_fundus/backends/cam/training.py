"""Training of a classifier of whole images: data, network, loss and figures for the common loop."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from napari_fundus.backends.cam.architecture import GRADES, OO_NETWORK
from napari_fundus.backends.cam.augmentation import augment_images
from napari_fundus.backends.cam.classifiers import build_network
from napari_fundus.backends.cam.network_input import (
    dequantize_for_display,
    normalize_input,
    resize_recipe,
)
from napari_fundus.backends.cam.targets import (
    MIN_GRADES,
    classification_loss,
    log_odds,
    positive_grade,
    predicted_classes,
    target_classes,
)
from napari_fundus.backends.cam.training_data import (
    GradedImages,
    epoch_order,
    load_graded_images,
    split_graded_samples,
)
from napari_fundus.backends.cam.training_options import SPEC, CamTrainingOptions
from napari_fundus.backends.cam.weights import load_architecture, load_recipe
from napari_fundus.checkpoints import Checkpoint, ModelCard
from napari_fundus.datasets import Dataset, Sample
from napari_fundus.errors import OptionsError, TrainingError
from napari_fundus.image_identity import ImageIdentity
from napari_fundus.lesions import DR_EVIDENCE
from napari_fundus.metrics.calibration import best_temperature
from napari_fundus.metrics.classification import BinaryScores
from napari_fundus.metrics.confusion import ConfusionMatrix
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training.loop.events import Patches
from napari_fundus.training.loop.preflight import DataSummary, SampleSummary, SplitSummary
from napari_fundus.training.loop.settings import TrainingSettings
from napari_fundus.training.loop.task import Task
from napari_fundus.training.loop.trainer import Trainer, reject_set_options
from napari_fundus.training.patches.folds import other_views


class CamTask(Task):
    """Images that a network classifies as diseased or not.

    Parameters
    ----------
    data, healthy
        Images with grades of retinopathy, and further ones of grade 0.
    options
        Network, image, balance and augmentation.
    initial
        Weights to start from.
    name, command
        For the model card.

    Raises
    ------
    OptionsError
        An option contradicts the weights to start from.
    """

    name: ClassVar[str] = "cam"
    best_metric: ClassVar[str] = "auc"
    higher_is_better: ClassVar[bool] = True

    def __init__(
        self,
        data: Dataset,
        healthy: Dataset | None = None,
        *,
        options: CamTrainingOptions | None = None,
        initial: Checkpoint | None = None,
        name: str = "cam",
        command: str = "",
    ) -> None:
        self.data, self.healthy = data, healthy
        self.options = options or CamTrainingOptions()
        self._title, self._command = name, command
        self.recipe = self.options.recipe()
        self.architecture = self.options.architecture()
        if initial is not None:
            self._start_from(initial)
        self._pretrained = self.options.pretrained and initial is None
        self._temperature = 1.0

    def _start_from(self, initial: Checkpoint) -> None:
        given = self.options.model_fields_set
        reject_set_options(self.options, SPEC.fixed_by_checkpoint, of=initial)
        self.recipe = load_recipe(initial)
        if "side" in given:
            self.recipe = resize_recipe(self.recipe, self.options.side)
        self.architecture = load_architecture(initial)
        strides = {"first_stride", "third_stride", "poolings"} & given
        if strides and self.architecture.network != OO_NETWORK:
            raise OptionsError(f"{', '.join(sorted(strides))} are of the o_O network alone.")
        self.architecture = self.architecture.model_copy(
            update={name: getattr(self.options, name) for name in strides}
        )

    def prepare(self, settings: TrainingSettings, monitor: Monitor) -> DataSummary:
        """Read both parts, prepared, into memory."""
        train_part, validation = split_graded_samples(
            self.data, self.healthy, settings, hold_back_drawn=self.options.hold_back_drawn
        )
        share = 0.01 * len(train_part) / (len(train_part) + len(validation))
        self.shown = load_graded_images(train_part, self.recipe, monitor.part(0.0, share))
        self.validation_store = load_graded_images(
            validation, self.recipe, monitor.part(share, 0.01)
        )
        self._classes = self._target_classes(self.shown.grades)
        self._require_two_classes("training", self._classes)
        self._require_two_classes("validation", self._target_classes(self.validation_store.grades))
        self._weights = self._class_weights()
        self._order: tuple[tuple[int, ...], npt.NDArray[np.int64]] | None = None
        shown = _facts(self.shown)
        return DataSummary(
            shown,
            _facts(self.validation_store),
            self.shown.pixels.nbytes + self.validation_store.pixels.nbytes,
            other_views=other_views(self.data, shown.samples),
        )

    def _target_classes(self, grades: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        found: npt.NDArray[np.int64] = target_classes(
            self.architecture.target, torch.from_numpy(grades)
        ).numpy()
        return found

    def _require_two_classes(self, part: str, classes: npt.NDArray[np.int64]) -> None:
        if len(np.unique(classes)) < 2:
            raise TrainingError(
                f"All images of the {part} part are of one class: give more images, or change "
                "the seed or the validation share."
            )

    def _class_weights(self) -> Tensor | None:
        options = self.options
        if not options.class_weights and options.positive_weight == 1:
            return None
        count = GRADES if self.architecture.outputs > 1 else 2
        weights = np.ones(count)
        if options.class_weights:
            counts = np.bincount(self._classes, minlength=count)
            weights = len(self._classes) / (count * np.maximum(counts, 1))
        weights[1:] *= options.positive_weight
        return torch.from_numpy(weights.astype(np.float32))

    def build(self) -> nn.Module:
        """Return the network."""
        return build_network(self.architecture, pretrained=self._pretrained)

    def steps_per_epoch(self, settings: TrainingSettings) -> int:
        """Return how many whole batches the training part gives."""
        return max(len(self._classes) // settings.batch_size, 1)

    def batch(self, settings: TrainingSettings, key: tuple[int, ...]) -> Any:
        """Return bytes (B, 3, S, S) and grades."""
        seed, epoch, step, rank = key
        size, count = settings.batch_size, len(self._classes)
        places = np.arange(step * size, (step + 1) * size)
        chosen = np.empty(size, np.int64)
        # An epoch longer than the data goes through them several times, each in another order.
        for turn in np.unique(places // count):
            mask = places // count == turn
            chosen[mask] = self._epoch_order((seed, epoch, rank, int(turn)))[places[mask] % count]
        return self._tensors(self.shown, chosen)

    def _epoch_order(self, key: tuple[int, ...]) -> npt.NDArray[np.int64]:
        kept = self._order
        if kept is None or kept[0] != key:
            kept = key, epoch_order(self._classes, key, oversample=self.options.oversample)
            self._order = kept
        return kept[1]

    def _tensors(self, images: GradedImages, chosen: npt.NDArray[np.int64]) -> dict[str, Tensor]:
        return {
            "images": torch.from_numpy(images.pixels[chosen]).permute(0, 3, 1, 2),
            "grades": torch.from_numpy(images.grades[chosen]),
            "places": torch.from_numpy(chosen),
        }

    def augment(self, batch: Any) -> Any:
        """Turn, mirror, zoom, and change contrast, brightness and colour."""
        images = augment_images(normalize_input(batch["images"], self.recipe), self.options)
        return {**batch, "images": images.contiguous(memory_format=torch.channels_last)}

    def patches(self, settings: TrainingSettings) -> Patches:
        """Return images of the first step, varied."""
        chosen = settings.model_copy(update={"batch_size": settings.show_patches})
        images = self.augment(self.batch(chosen, (settings.seed, 0, 0, 0)))["images"]
        return Patches(
            dequantize_for_display(images, self.recipe).permute(0, 2, 3, 1).contiguous().numpy()
        )

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """Return the cross-entropy, weighed by class."""
        logits = network(batch["images"])
        return classification_loss(
            self.architecture.target, logits.float(), batch["grades"], self._weights
        )

    def validation_steps(self, settings: TrainingSettings) -> int:
        """Return how many batches hold all images."""
        return -(-len(self.validation_store.samples) // settings.batch_size)

    def validation_batch(self, settings: TrainingSettings, step: int) -> Any:
        """Return bytes, grades and places."""
        size = settings.batch_size
        last = min((step + 1) * size, len(self.validation_store.samples))
        return self._tensors(self.validation_store, np.arange(step * size, last))

    def validate(self, network: nn.Module, batch: Any) -> Mapping[str, Tensor | float]:
        """Return the logits of each image under names of their own, which add up to themselves."""
        logits = network(normalize_input(batch["images"], self.recipe)).float().tolist()
        return {
            f"{place} {output}": value
            for place, row in zip(batch["places"].tolist(), logits, strict=True)
            for output, value in enumerate(row)
        }

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Return AUC, accuracy, sensitivity, specificity, kappa, and how well logits are scaled."""
        target, outputs = self.architecture.target, self.architecture.outputs
        logits = torch.tensor(
            [
                [sums[f"{index} {output}"] for output in range(outputs)]
                for index in range(len(self.validation_store.samples))
            ],
            dtype=torch.float64,
        )
        grades = torch.from_numpy(self.validation_store.grades)
        if not bool(logits.isfinite().all()):
            raise TrainingError("The network gives logits that are not finite: it diverged.")

        def loss(temperature: float) -> float:
            return float(classification_loss(target, logits / temperature, grades))

        self._temperature = best_temperature(loss)
        level = positive_grade(target)
        scores = BinaryScores((grades >= level).numpy(), log_odds(target, logits, level).numpy())
        table = scores.confusion(0)
        if target == "ordinal":
            truth, classes = grades, GRADES
        else:
            truth, classes = target_classes(target, grades), max(outputs, 2)
        predicted = predicted_classes(target, logits).numpy()
        return {
            # Rounded, so that epochs of the same AUC are equal whatever their order of scores.
            "auc": round(scores.roc().auc, 12),
            "accuracy": table.accuracy,
            "sensitivity": table.sensitivity,
            "specificity": table.specificity,
            "kappa": ConfusionMatrix.of(truth.numpy(), predicted, classes=classes).kappa(),
            "nll": loss(1.0),
            "calibrated_nll": loss(self._temperature),
            "temperature": self._temperature,
        }

    def preview(self, network: nn.Module) -> Mapping[str, npt.NDArray[Any]]:
        """Return the most diseased image of the validation part."""
        index = int(self.validation_store.grades.argmax())
        sample = self.validation_store.samples[index]
        return {
            f"{sample.id}, grade {sample.grades['dr']}": self.validation_store.pixels[index].copy()
        }

    def card(self, settings: TrainingSettings) -> ModelCard:
        """Return the card; its temperature is that of the last validation."""
        sources = [self.data, *([self.healthy] if self.healthy is not None else [])]
        return ModelCard(
            name=self._title,
            detector=self.name,
            lesions=(DR_EVIDENCE,),
            architecture=self.architecture.model_dump(mode="json"),
            recipe={
                "preprocessing": self.recipe.model_dump(mode="json"),
                "options": self.options.model_dump(mode="json"),
                "temperature": self._temperature,
            },
            data="; ".join(dict.fromkeys(s.title for s in sources)),
            data_licence="; ".join(dict.fromkeys(s.licence for s in sources if s.licence)),
            command=self._command,
        )


class GradingTask(CamTask):
    """Images that a network grades: the best epoch is chosen by quadratic kappa."""

    best_metric: ClassVar[str] = "kappa"


def _facts(images: GradedImages) -> SplitSummary:
    names, counts = np.unique(images.grades, return_counts=True)
    return SplitSummary(
        [
            SampleSummary(s.id, s.group, content=_content(s, identity), identity=identity)
            for s, identity in zip(images.samples, images.identities, strict=True)
        ],
        {f"grade {grade}": int(count) for grade, count in zip(names, counts, strict=True)},
    )


def _content(sample: Sample, identity: ImageIdentity) -> str:
    """Return a hash of an image's pixels and of its grades."""
    known = (sorted(sample.grades.items()), identity.sha256)
    return hashlib.sha256(repr(known).encode()).hexdigest()


def _task(data: Dataset, healthy: Dataset | None, **chosen: Any) -> CamTask:
    """Return the task for what is distinguished."""
    initial = chosen["initial"]
    options: CamTrainingOptions = chosen["options"]
    target = options.target if initial is None else load_architecture(initial).target
    return (CamTask if target in MIN_GRADES else GradingTask)(data, healthy, **chosen)


train_cam = Trainer(
    _task,
    CamTrainingOptions,
    detector=CamTask.name,
    what="a classifier of whole images",
    data="grades of retinopathy",
    checkpoint="""Weights to start from, by name or path; network and enhancement are then theirs,
    side and strides too unless they are set.""",
    defaults=SPEC.defaults,
)
