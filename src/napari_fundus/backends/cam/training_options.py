"""What a user may set of a classifier's training, beside the settings that all methods share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from napari_fundus.backends.cam.architecture import OO_NETWORK, ClassifierArchitecture, Target
from napari_fundus.backends.cam.network_input import DEFAULT_RECIPE, resize_recipe
from napari_fundus.detector import TrainingSpec
from napari_fundus.errors import OptionsError
from napari_fundus.preprocessing import Recipe


class CamTrainingOptions(BaseModel):
    """Network, image, balance and augmentation; width and stride are those of a light network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: Target = Field(
        "referable",
        title="Told apart",
        description=(
            "referable: grade 2 and above; any: grade 1 and above; grades: the five grades; "
            "ordinal: the four steps between them."
        ),
    )
    network: Annotated[str, Field(pattern=r"^(o_O|(torchvision|timm):[\w./-]+)$")] = Field(
        OO_NETWORK,
        title="Network",
        description="o_O, or another classifier as torchvision:resnet50 or timm:resnet18.",
    )
    pretrained: bool = Field(
        default=False,
        title="Start from ImageNet",
        description="Fetch the ImageNet weights of another classifier, which needs a network.",
    )
    width: Annotated[float, Field(gt=0, le=4)] = Field(
        0.25, title="Width", description="Share of the paper's channels; 1 is the paper's network."
    )
    first_stride: Annotated[int, Field(ge=1, le=2)] = Field(
        2,
        title="First stride",
        description="Of the first convolution: 1 as in the paper; 2 takes a quarter of the time.",
    )
    third_stride: Annotated[int, Field(ge=1, le=2)] = Field(
        1, title="Third stride", description="Of the third convolution: 1 as in the paper."
    )
    poolings: Annotated[int, Field(ge=2, le=4)] = Field(
        4, title="Poolings", description="4 as in the paper; with less the maps are finer."
    )
    side: Annotated[int, Field(ge=64, le=2048)] = Field(
        DEFAULT_RECIPE.side,
        title="Side",
        description="Of the square that the disc fills.",
        json_schema_extra={"unit": "px"},
    )
    enhance: bool = Field(
        default=True, title="Enhance", description="Take the local mean off, as for lesions."
    )
    standardize: bool = Field(
        default=True, title="Standardize", description="Each image to mean 0 and deviation 1."
    )
    hold_back_drawn: bool = Field(
        default=False,
        title="Hold back drawn eyes",
        description=(
            "Eyes of which the data set has lesions drawn go to the validation part, beside its "
            "share: so that the localization can be measured on eyes that were never seen."
        ),
    )
    oversample: bool = Field(
        default=True,
        title="Oversample",
        description="Show each class equally often, repeating images of the rarer ones.",
    )
    class_weights: bool = Field(
        default=False,
        title="Class weights",
        description="Weigh each class in the loss by the inverse of its share of the images.",
    )
    positive_weight: Annotated[float, Field(gt=0, le=100)] = Field(
        1.0,
        title="Weight of disease",
        description="In the loss, of images that are diseased (of all classes above 0).",
    )
    rotation: Annotated[float, Field(ge=0, le=180)] = Field(
        180.0,
        title="Rotation",
        description="Rotate by up to this angle either way.",
        json_schema_extra={"unit": "°"},
    )
    flips: bool = Field(default=True, title="Flips", description="Mirror at random.")
    scale: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1, title="Scale", description="Zoom by 1 ± this."
    )
    contrast: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.2, title="Contrast", description="Multiply by 1 ± this."
    )
    brightness: Annotated[float, Field(ge=0, le=4)] = Field(
        0.2, title="Brightness", description="Add ± this, in deviations."
    )
    colour: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1, title="Colour", description="Multiply each plane by its own 1 ± this."
    )

    def architecture(self) -> ClassifierArchitecture:
        """Return the definition of the network."""
        if self.pretrained and self.network == OO_NETWORK:
            raise OptionsError("There are no ImageNet weights of the o_O network.")
        own = {"first_stride", "third_stride", "poolings", "width"}
        names = {"network", "target"} | (own if self.network == OO_NETWORK else set())
        return ClassifierArchitecture.model_validate(self.model_dump(include=names))

    def recipe(self) -> Recipe:
        """Return the preprocessing."""
        changes = {"enhance": self.enhance, "standardize": self.standardize}
        return resize_recipe(DEFAULT_RECIPE.model_copy(update=changes), self.side)


SPEC = TrainingSpec(
    options=CamTrainingOptions,
    # As in the paper.
    defaults={
        "batch_size": 16,
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "momentum": 0.8,
        "weight_decay": 5e-4,
        "schedule": "exponential",
        "factor": 0.99,
        "max_epochs": 150,
        "early_stopping": 0,
    },
    fixed_by_checkpoint=frozenset({"network", "target", "width", "enhance", "standardize"}),
    # The network is fully convolutional, and may go on at a finer scale.
    defaults_from_checkpoint=frozenset({"side", "first_stride", "third_stride", "poolings"}),
    schemes_unsupported_reason="A classifier has no way back up: all its convolutions are trained.",
    required_annotations="grades",
)
"""What forms and the command line show of the training."""
