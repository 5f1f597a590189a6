"""U-Nets that mark the pixels of several classes: plain, light with ImageNet, of a library."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import nn

from napari_fundus.backends.unet import lite
from napari_fundus.backends.unet.imagenet import load_imagenet
from napari_fundus.backends.unet.two_scales import TwoScaleUNet
from napari_fundus.errors import OptionsError
from napari_fundus.inference.plain_unet import PlainUNet, init_prior_bias


class UNetArchitecture(BaseModel):
    """What a network is built from; it stands in the model card.

    Attributes
    ----------
    kind
        ``"plain"``; ``"lite"`` for one on EfficientNet-Lite0; ``"smp"`` for a U-Net of
        segmentation_models_pytorch.
    planes, outputs
        Number of input planes and of classes.
    filters
        Channels of each level of the plain one, the finest first.
    stem
        The plain one sees the picture in blocks of stem × stem pixels, and answers for each pixel
        of a block: 2 takes a third of the time of 1, with the same input.
    encoder
        Name of smp's encoder, or ``tu-`` and that of a network which timm ships: nothing that would
        be fetched, or read from a folder.
    coarse
        What a second network is built from, which sees the picture at half the scale: the answer
        is then a mean of both; None for one network.
    coarse_share
        Weight of the second network's logits in that mean, for each class, 0 to 1; empty for one
        half each.
    offset
        What the detector adds to each class's logits, empty for nothing. Training shows lesions far
        more often than they are, so that a network answers too surely; a negative number takes that
        back (King and Zeng 2001, doi:10.1093/oxfordjournals.pan.a004868). Training leaves it alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["plain", "lite", "smp"] = "plain"
    planes: Annotated[int, Field(ge=1, le=16)] = 3
    outputs: Annotated[int, Field(ge=1, le=8)] = 5
    filters: Annotated[
        tuple[Annotated[int, Field(ge=1, le=2048)], ...], Field(min_length=2, max_length=8)
    ] = (32, 64, 128, 192, 256)
    stem: Literal[1, 2, 4] = 2
    encoder: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")] = "resnet34"
    coarse: UNetArchitecture | None = None
    coarse_share: tuple[Annotated[float, Field(ge=0, le=1)], ...] = ()
    offset: tuple[Annotated[float, Field(ge=-20, le=20)], ...] = ()

    @field_validator("coarse", mode="before")
    @classmethod
    def _check_coarse_is_one_network(cls, value: Any) -> Any:
        # Before it is looked into: a card may nest them without end.
        known = value if isinstance(value, Mapping) else getattr(value, "__dict__", {})
        if known.get("coarse") is not None:
            raise ValueError("a coarse network has no coarse one of its own")
        return value

    @model_validator(mode="after")
    def _check_numbers_a_class(self) -> Self:
        if self.coarse_share and (self.coarse is None or len(self.coarse_share) != self.outputs):
            raise ValueError("coarse_share is one number a class, of two networks")
        if self.offset and len(self.offset) != self.outputs:
            raise ValueError("offset is one number a class")
        return self

    @property
    def alone(self) -> UNetArchitecture:
        """The same without a coarse network."""
        return self.model_copy(update={"coarse": None, "coarse_share": ()})

    @property
    def multiple(self) -> int:
        """Height and width of the input must be multiples of it."""
        own = self.stem << (len(self.filters) - 1) if self.kind == "plain" else lite.MULTIPLE
        return own if self.coarse is None else math.lcm(own, 2 * self.coarse.multiple)

    @property
    def reach(self) -> int:
        """How far a pixel of the input can matter to the (fine) network, in pixels; smp: 256.

        Of a plain one: two 3×3 convolutions on every level, down and up, and the pooling and
        up-sampling between.
        """
        if self.kind != "plain":
            return lite.REACH if self.kind == "lite" else 256
        levels = len(self.filters)
        down = sum(2 << level for level in range(levels))
        up = sum(2 << level for level in range(levels - 1))
        return self.stem * (down + up + (1 << (levels - 1)))


def build_network(
    architecture: UNetArchitecture, *, encoder_weights: str | None = None
) -> nn.Module:
    """Return the network, with random weights.

    Parameters
    ----------
    architecture
        What to build.
    encoder_weights
        Name of the pretraining of the encoder: of smp's, which is downloaded, or ``"imagenet"`` for
        the lite one; None for random weights.

    Raises
    ------
    OptionsError
        segmentation_models_pytorch is missing, or knows no such encoder; or the pretraining of the
        lite one is not to be had.
    """
    if architecture.coarse is not None:
        return TwoScaleUNet(
            build_network(architecture.alone, encoder_weights=encoder_weights),
            build_network(architecture.coarse, encoder_weights=encoder_weights),
            coarse_share=architecture.coarse_share or (0.5,) * architecture.outputs,
        )
    if architecture.kind == "lite":
        network = lite.LiteUNet(planes=architecture.planes, outputs=architecture.outputs)
        if encoder_weights == "imagenet":
            load_imagenet(network.encoder)
        elif encoder_weights is not None:
            raise OptionsError(f"Of EfficientNet-Lite0 there are no weights {encoder_weights!r}.")
        return network
    if architecture.kind == "plain":
        return PlainUNet(
            planes=architecture.planes,
            outputs=architecture.outputs,
            filters=architecture.filters,
            stem=architecture.stem,
        )
    try:
        import segmentation_models_pytorch as smp
    except ModuleNotFoundError:
        raise OptionsError(
            "U-Nets with an encoder by name need segmentation_models_pytorch: "
            'pip install "napari-fundus[models]".'
        ) from None
    names = smp.encoders.get_encoder_names()
    if architecture.encoder not in names and not _is_of_timm(architecture.encoder):
        raise OptionsError(
            f"There is no encoder {architecture.encoder!r}; there are {', '.join(names)}, and "
            "tu-NAME for timm's."
        )
    named: nn.Module = smp.Unet(
        architecture.encoder,
        encoder_weights=encoder_weights,
        in_channels=architecture.planes,
        classes=architecture.outputs,
    )
    init_prior_bias(named.segmentation_head[0])  # type: ignore[arg-type, index]
    return named


def _is_of_timm(encoder: str) -> bool:
    """Whether smp takes an encoder from timm's list, without any address or path in its name."""
    import timm

    prefix, _, name = encoder.partition("-")
    return prefix == "tu" and name in timm.list_models()
