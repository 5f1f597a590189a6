"""Training of the multi-scale detector: one stage at a time, each file holding those before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_fundus.backends.multiscale.hypothesis_task import HypothesisTask
from napari_fundus.backends.multiscale.refiner_task import RefinerTask
from napari_fundus.backends.multiscale.stages import HYPOTHESES, checkpoint_stages, stage_checkpoint
from napari_fundus.backends.multiscale.training_options import (
    TRAINING_DEFAULTS,
    MultiscaleTrainingOptions,
)
from napari_fundus.checkpoints import Checkpoint
from napari_fundus.datasets import Dataset
from napari_fundus.errors import OptionsError
from napari_fundus.training.loop.settings import TrainingSettings
from napari_fundus.training.loop.trainer import Trainer


class _StageTrainer(Trainer[MultiscaleTrainingOptions]):
    """Trains one stage; the checkpoint is the file of those before, which may have this one too."""

    def defaults_for(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the loop's defaults for the stage."""
        stage = settings.get("stage", "fine")
        if stage not in TRAINING_DEFAULTS:
            raise OptionsError(
                f"There is no stage {stage!r}; there are {', '.join(TRAINING_DEFAULTS)}."
            )
        return TRAINING_DEFAULTS[stage]

    def initial_checkpoint(
        self,
        known: Checkpoint | None,
        settings: TrainingSettings,
        options: MultiscaleTrainingOptions,
    ) -> Checkpoint | None:
        """Return the stage's own weights, where the file has some."""
        known = super().initial_checkpoint(known, settings, options)
        if known is not None and options.stage in checkpoint_stages(known):
            return stage_checkpoint(known, options.stage)
        if settings.scheme != "full":
            raise OptionsError(
                f"The scheme {settings.scheme!r} keeps weights as they are, but the checkpoint has "
                f"none of the stage {options.stage!r}."
            )
        return None


def _task(data: Dataset, healthy: Dataset | None, **chosen: Any) -> HypothesisTask | RefinerTask:
    """Return the task of the stage."""
    options: MultiscaleTrainingOptions = chosen["options"]
    kind = HypothesisTask if options.stage in HYPOTHESES else RefinerTask
    return kind(data, healthy, **chosen)


train_multiscale = _StageTrainer(
    _task,
    MultiscaleTrainingOptions,
    detector=HypothesisTask.name,
    what="one stage of the multi-scale detector, which the setting ``stage`` names",
    data="microaneurysms drawn",
    checkpoint="""File of the stages trained before, by name or path, which the new file will hold
    too. Where it has the stage that is trained now, its weights are the start.""",
)
