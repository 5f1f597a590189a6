"""All that defines a classifier and what its outputs mean, as a checkpoint's card keeps it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

GRADES = 5
"""Grades of diabetic retinopathy: none, mild, moderate, severe, proliferative."""

OO_NETWORK = "o_O"
"""Name of the network whose maps come in the forward pass."""

Target = Literal["referable", "any", "grades", "ordinal"]
"""What is distinguished: grade ≥ 2, grade ≥ 1, the five grades, or the four steps between them."""


class ClassifierArchitecture(BaseModel):
    """Network and meaning of its outputs.

    Attributes
    ----------
    network
        ``"o_O"``, ``"torchvision:NAME"`` or ``"timm:NAME"``.
    target
        What the outputs mean: one logit of referable or of any retinopathy, five classes, or four
        logits of "grade at least k".
    width
        Of the o_O network: share of the paper's channels.
    first_stride, third_stride
        Of its first and third convolution: 1 as in the paper, 2 as in the network before it was
        made fully convolutional.
    poolings
        How many of its four poolings are kept.
    slope
        Negative slope of its leaky ReLU.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: Annotated[str, Field(pattern=r"^(o_O|(torchvision|timm):[\w./-]+)$")] = OO_NETWORK
    target: Target = "referable"
    width: Annotated[float, Field(gt=0, le=4)] = 1.0
    first_stride: Annotated[int, Field(ge=1, le=2)] = 1
    third_stride: Annotated[int, Field(ge=1, le=2)] = 1
    poolings: Annotated[int, Field(ge=2, le=4)] = 4
    slope: Annotated[float, Field(ge=0, lt=1)] = 0.01

    @property
    def outputs(self) -> int:
        """Number of logits."""
        return {"referable": 1, "any": 1, "grades": GRADES, "ordinal": GRADES - 1}[self.target]

    def channels(self, paper: int) -> int:
        """Return the channels of a convolution that has `paper` of them in the paper.

        Multiples of 8, which processors like.
        """
        return max(8 * round(paper * self.width / 8), 8)
