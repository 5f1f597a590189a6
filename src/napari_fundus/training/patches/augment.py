"""Random turns, flips, brightness and small warps of whole batches, by torchvision's v2."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2


class AugmentationSettings(BaseModel):
    """What is varied at random, and how much."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    turns: bool = Field(
        default=True, title="Quarter turns", description="Turn by 0, 90, 180 or 270°."
    )
    flips: bool = Field(
        default=True, title="Flips", description="Mirror left-right and top-bottom."
    )
    gain: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, title="Contrast", description="Multiply by 1 ± this, all channels alike."
    )
    offset: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, title="Brightness", description="Add ± this share of the full range."
    )
    colour: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, title="Colour", description="Multiply each channel by its own 1 ± this."
    )
    scale: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, title="Scale", description="Zoom by 1 ± this."
    )
    rotation: Annotated[float, Field(ge=0, le=180)] = Field(
        0.0,
        title="Rotation",
        description="Rotate by ± this angle.",
        json_schema_extra={"unit": "°"},
    )
    shift: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, title="Shift", description="Shift along each axis by ± this share of the side."
    )
    groups: Annotated[int, Field(ge=1, le=64)] = Field(
        8,
        title="Groups",
        description="A batch is cut into so many groups, each with its own random values.",
    )


class QuarterTurn(v2.Transform):  # type: ignore[misc]
    """Turn by 0, 90, 180 or 270 degrees, exactly; inputs must be square."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the number of quarter turns."""
        return {"turns": int(torch.randint(4, ()))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Turn one input."""
        return tv_tensors.wrap(torch.rot90(inpt, params["turns"], (-2, -1)), like=inpt)


class GainOffset(v2.Transform):  # type: ignore[misc]
    """Multiply and shift the grey values of images with any number of channels; masks pass.

    Parameters
    ----------
    gain, offset, colour
        As in :class:`AugmentationSettings`; images are float with values in [0, 1], and stay so.
    """

    _transformed_types = (tv_tensors.Image,)

    def __init__(self, gain: float, offset: float, colour: float) -> None:
        super().__init__()
        self.gain, self.offset, self.colour = gain, offset, colour

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw one gain and offset, and a gain for every channel."""
        channels = next(x.shape[-3] for x in flat_inputs if isinstance(x, tv_tensors.Image))
        draw = torch.rand(channels + 2) * 2 - 1
        gain = (1 + self.gain * draw[0]) * (1 + self.colour * draw[2:])
        return {"gain": gain.view(-1, 1, 1), "offset": self.offset * float(draw[1])}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Change one image."""
        changed = inpt * params["gain"].to(inpt) + params["offset"]
        return tv_tensors.wrap(changed.clamp(0, 1), like=inpt)


class Augmentation:
    """Vary images and their masks alike.

    Parameters
    ----------
    settings
        What is varied.

    Notes
    -----
    Random values come from torch's global generator of the CPU, as torchvision's do; see
    `fabric.seeded`. The work runs on the device where the batch lies.
    """

    def __init__(self, settings: AugmentationSettings) -> None:
        steps: list[v2.Transform] = []
        if settings.turns:
            steps.append(QuarterTurn())
        if settings.flips:
            steps += [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]
        if settings.scale or settings.rotation or settings.shift:
            steps.append(
                v2.RandomAffine(
                    degrees=settings.rotation,
                    translate=(settings.shift, settings.shift) if settings.shift else None,
                    scale=(1 - settings.scale, 1 + settings.scale),
                    interpolation=v2.InterpolationMode.BILINEAR,
                )
            )
        if settings.gain or settings.offset or settings.colour:
            steps.append(GainOffset(settings.gain, settings.offset, settings.colour))
        self.settings = settings
        self._transform = v2.Compose(steps) if steps else None

    def __call__(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Return varied copies.

        Parameters
        ----------
        images
            Float, shape (B, C, S, S), values in [0, 1].
        masks
            Any dtype, shape (B, K, S, S).
        """
        if self._transform is None:
            return images, masks
        parts = [
            self._transform(tv_tensors.Image(image), tv_tensors.Mask(mask))
            for image, mask in zip(
                images.tensor_split(min(self.settings.groups, len(images))),
                masks.tensor_split(min(self.settings.groups, len(images))),
                strict=True,
            )
        ]
        return (
            torch.cat([image.as_subclass(Tensor) for image, _ in parts]),
            torch.cat([mask.as_subclass(Tensor) for _, mask in parts]),
        )
