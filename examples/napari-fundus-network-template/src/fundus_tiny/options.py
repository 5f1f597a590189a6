"""What can be set: of the detection, and of the training."""

from pydantic import Field

from napari_fundus.detector import DetectorOptions, checkpoint_field
from napari_fundus.training.patches.options import PatchTrainingOptions


class TinyOptions(DetectorOptions):
    checkpoint: str = checkpoint_field("tiny", detector="tiny")


class TinyTrainingOptions(PatchTrainingOptions):
    width: int = Field(8, ge=1, le=256, title="Width", description="Channels of the network.")
