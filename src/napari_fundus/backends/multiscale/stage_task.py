"""What one stage's training writes into the common file: its tensors and card beside others'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from napari_fundus.backends.multiscale.stages import (
    Stage,
    checkpoint_stages,
    prefix_tensors,
    stage_checkpoint,
)
from napari_fundus.backends.multiscale.training_options import MultiscaleTrainingOptions
from napari_fundus.checkpoints import Checkpoint, ModelCard, Parent
from napari_fundus.training.loop.settings import TrainingSettings
from napari_fundus.training.patches.options import PatchTrainingOptions
from napari_fundus.training.patches.task import PatchTask


class StageTask(PatchTask):
    """The training of one stage, whose file holds it beside those of the file it starts from."""

    name: ClassVar[str] = "multiscale"
    Options: ClassVar[type[PatchTrainingOptions]] = MultiscaleTrainingOptions
    options: MultiscaleTrainingOptions

    @property
    def stage(self) -> Stage:
        """Which one is trained."""
        return self.options.stage

    def checkpoint_tensors(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the new file's tensors: this stage's beside those trained before."""
        return merge_stage_tensors(self.stage, tensors, self.initial)

    def card(self, settings: TrainingSettings) -> ModelCard:
        """Return the card of all stages."""
        return merge_stage_card(self.stage, super().card(settings), self.initial)


def merge_stage_tensors(
    stage: Stage, own: Mapping[str, Tensor], known: Checkpoint | None
) -> dict[str, Tensor]:
    """Return the tensors of a new file: the stage's, and those of all others in `known`."""
    joined: dict[str, Tensor] = {}
    for other in checkpoint_stages(known) if known else ():
        if known and other != stage:
            joined.update(prefix_tensors(other, stage_checkpoint(known, other).tensors))
    return {**joined, **prefix_tensors(stage, own)}


def merge_stage_card(stage: Stage, card: ModelCard, known: Checkpoint | None) -> ModelCard:
    """Return the card of a new file.

    Parameters
    ----------
    stage
        What was trained.
    card
        Of the stage alone: architecture and recipe as the networks of other methods have them.
    known
        The file that the training started from.
    """
    if known is None:
        return card.model_copy(
            update={
                "architecture": {stage: card.architecture},
                "recipe": {**card.recipe, "stages": {stage: dict(card.recipe)}},
            }
        )
    before = known.card
    stages: dict[str, Any] = dict(before.recipe.get("stages", {}))
    # The loop keeps its settings beside the stages; they are those of the stage trained last.
    last = before.recipe.get("options", {}).get("stage", "")
    training = {"training": before.recipe.get("training", {}), "command": before.command}
    if last in stages:
        stages[last] = {**stages[last], **training}
    stages[stage] = dict(card.recipe)
    networks = {**before.architecture, stage: card.architecture}
    metrics = {
        name if name.split("_")[0] in networks else f"{last}_{name}": value
        for name, value in before.metrics.items()
    }
    return card.model_copy(
        update={
            "architecture": networks,
            "recipe": {**card.recipe, "stages": stages},
            "metrics": {n: v for n, v in metrics.items() if not n.startswith(f"{stage}_")},
            "parent": Parent(name=before.name, sha256=known.sha256),
        }
    )
