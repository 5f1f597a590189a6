"""What a user may set of a Mask R-CNN's training, beside the settings that all methods share."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from napari_fundus.detector import TrainingSpec
from napari_fundus.lesions import DR_LESIONS
from napari_fundus.preprocessing import Recipe
from napari_fundus.training.patches.options import (
    ADAMW_COSINE,
    AreaPower,
    Brightness,
    ClassShares,
    Colour,
    Contrast,
    DrawnTiles,
    PatchTrainingOptions,
    Zoom,
)

FIXED_BY_UNET = frozenset({"filters", "disc_diameter", "channel"})
"""Options that come with the U-Net that a light network begins with."""


class MaskRCNNTrainingOptions(PatchTrainingOptions):
    """Classes, network, patches and what counts as one lesion."""

    default_lesions: ClassVar[tuple[str, ...]] = tuple(map(str, DR_LESIONS))

    lesions: tuple[str, ...] = Field(
        (),
        title="Classes",
        description="Codes of the classes to find; left out: those that are annotated, of "
        "MA, HE, EX and SE.",
    )
    kind: Literal["light", "resnet50", "resnet101"] = Field(
        "light",
        title="Network",
        description="light: on the plain U-Net, for CPUs; resnet50, resnet101: the paper's.",
    )
    start: str = Field(
        "unet-idrid",
        title="Begin with",
        description="Weights of a U-Net, by name or path, that the light network begins with; its "
        "preprocessing is taken too. Empty: random weights.",
    )
    unet_rate: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0,
        title="Rate of the U-Net",
        description="Its learning rate as a share of the others'. 0: it stays as it is.",
    )
    pretrained: bool = Field(
        default=False,
        title="Pretrained",
        description="Download weights of everyday pictures: ResNet-50's with heads from COCO, "
        "ResNet-101's from ImageNet.",
    )
    filters: Annotated[
        tuple[Annotated[int, Field(ge=1, le=2048)], ...], Field(min_length=5, max_length=8)
    ] = Field(
        (32, 64, 128, 192, 256),
        title="Filters",
        description="Channels of each level of a U-Net that starts anew, the finest first.",
    )
    channels: Annotated[int, Field(ge=8, le=1024)] = Field(
        64, title="Pyramid's width", description="Channels of each level of the light pyramid."
    )
    hidden: Annotated[int, Field(ge=8, le=4096)] = Field(
        256, title="Box head's width", description="Of the light network."
    )
    mask_channels: Annotated[int, Field(ge=8, le=1024)] = Field(
        64, title="Mask head's width", description="Of the light network."
    )
    side: Annotated[int, Field(ge=64, le=8192)] = Field(
        1024,
        title="Side",
        description="Longer side of the whole image for the ResNets; 1024 in the paper.",
        json_schema_extra={"unit": "px"},
    )
    patch: Annotated[int, Field(ge=64, le=2048, multiple_of=32)] = Field(
        384,
        title="Patch side",
        description="At the working scale. The paper trains on whole images: 1024.",
        json_schema_extra={"unit": "px"},
    )
    dilations: Annotated[int, Field(ge=0, le=10)] = Field(
        0,
        title="Dilations",
        description="How often lesions are thickened with a 5×5 square before they are separated; "
        "2 in the paper.",
    )
    class_shares: ClassShares = Field({"MA": 0.3, "HE": 0.2, "EX": 0.15, "SE": 0.15})
    area_power: AreaPower = 0.5
    contrast: Contrast = 0.2
    brightness: Brightness = 0.2
    colour: Colour = 0.05
    zoom: Zoom = 0.1
    shift: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0,
        title="Shift",
        description="Training patches are shifted by ± this share of their side: where a patch is "
        "the whole image, drawing it elsewhere cannot.",
    )
    validation_tiles: DrawnTiles = 16

    def recipe(self) -> Recipe:
        """Return the preprocessing: the U-Net's for the light network, the paper's for ResNets."""
        if self.kind == "light":
            return super().recipe()
        return Recipe.preset("mask_rcnn").model_copy(
            update={
                "side": self.side,
                "sigma": 20 * self.side / 1024,
                "channel": self.channel,
            }
        )


SPEC = TrainingSpec(
    options=MaskRCNNTrainingOptions,
    defaults={
        **ADAMW_COSINE,
        "batch_size": 4,
        "learning_rate": 1e-3,
        "max_epochs": 20,
        "steps_per_epoch": 150,
    },
    fixed_by_checkpoint=FIXED_BY_UNET
    | {"lesions", "kind", "start", "pretrained", "channels", "hidden", "mask_channels", "side"},
    schemes_unsupported_reason="A Mask R-CNN does not tell its convolutions in order.",
)
"""What forms and the command line show of the training."""
