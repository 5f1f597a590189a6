"""U-Nets that mark the pixels of several classes: a plain one, and those of a kept library."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from napari_fundus.errors import OptionsError

__all__ = ["Architecture", "PlainUNet", "build_network"]


class Architecture(BaseModel):
    """What a network is built from; it stands in the model card.

    Attributes
    ----------
    kind
        ``"plain"``, or ``"smp"`` for a U-Net of segmentation_models_pytorch.
    planes, outputs
        Number of input planes and of classes.
    filters
        Channels of each level of the plain one, the finest first.
    stem
        The plain one sees the picture in blocks of stem × stem pixels, and answers for each pixel
        of a block: 2 takes a third of the time of 1, with the same input.
    encoder
        Name of smp's encoder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["plain", "smp"] = "plain"
    planes: Annotated[int, Field(ge=1, le=16)] = 3
    outputs: Annotated[int, Field(ge=1, le=8)] = 5
    filters: Annotated[tuple[Annotated[int, Field(ge=1, le=2048)], ...], Field(min_length=2)] = (
        32,
        64,
        128,
        192,
        256,
    )
    stem: Literal[1, 2, 4] = 2
    encoder: str = "resnet34"

    @property
    def multiple(self) -> int:
        """Height and width of the input must be multiples of it."""
        return self.stem << (len(self.filters) - 1) if self.kind == "plain" else 32

    @property
    def reach(self) -> int:
        """How far a pixel of the plain network's input can matter, in pixels; 256 for others.

        Two 3×3 convolutions on every level, down and up, and the pooling and up-sampling between.
        """
        if self.kind != "plain":
            return 256
        levels = len(self.filters)
        down = sum(2 << level for level in range(levels))
        up = sum(2 << level for level in range(levels - 1))
        return self.stem * (down + up + (1 << (levels - 1)))


def build_network(architecture: Architecture, *, encoder_weights: str | None = None) -> nn.Module:
    """Return the network, with random weights.

    Parameters
    ----------
    architecture
        What to build.
    encoder_weights
        Name of the pretraining of smp's encoder, which is downloaded; None for random weights.

    Raises
    ------
    OptionsError
        segmentation_models_pytorch is missing, or knows no such encoder.
    """
    if architecture.kind == "plain":
        return PlainUNet(architecture)
    try:
        import segmentation_models_pytorch as smp
    except ModuleNotFoundError:
        raise OptionsError(
            "U-Nets with an encoder by name need segmentation_models_pytorch: "
            'pip install "napari-fundus[models]".'
        ) from None
    names = smp.encoders.get_encoder_names()
    if architecture.encoder not in names and not architecture.encoder.startswith("tu-"):
        raise OptionsError(
            f"There is no encoder {architecture.encoder!r}; there are {', '.join(names)}, and "
            "tu-NAME for timm's."
        )
    network: nn.Module = smp.Unet(
        architecture.encoder,
        encoder_weights=encoder_weights,
        in_channels=architecture.planes,
        classes=architecture.outputs,
    )
    _start_quiet(network.segmentation_head[0])  # type: ignore[index]
    return network


class PlainUNet(nn.Module):
    """The U-Net of Ronneberger et al., with batch normalization and padded convolutions.

    Two 3×3 convolutions a level, 2×2 max-pooling; on the way up a 1×1 convolution halves the
    channels before nearest up-sampling and concatenation.

    Parameters
    ----------
    architecture
        Filters, stem, planes and outputs.

    References
    ----------
    Ronneberger O., Fischer P., Brox T.: U-Net. MICCAI 2015, doi:10.1007/978-3-319-24574-4_28.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        filters, block = architecture.filters, architecture.stem**2
        before = (architecture.planes * block, *filters)
        self.down = nn.ModuleList(
            _level(old, new) for old, new in zip(before, filters, strict=False)
        )
        coarse_to_fine = list(zip(filters[:0:-1], filters[-2::-1], strict=True))
        self.narrow = nn.ModuleList(
            nn.Conv2d(deep, fine, 1, bias=False) for deep, fine in coarse_to_fine
        )
        self.up = nn.ModuleList(_level(2 * fine, fine) for _, fine in coarse_to_fine)
        self.head = nn.Conv2d(filters[0], architecture.outputs * block, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        _start_quiet(self.head)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits.

        Parameters
        ----------
        images
            Float, shape (B, P, H, W); H and W multiples of ``architecture.multiple``.

        Returns
        -------
        Tensor
            Float, shape (B, K, H, W).
        """
        stem, multiple = self.architecture.stem, self.architecture.multiple
        if images.shape[-2] % multiple or images.shape[-1] % multiple:
            raise ValueError(
                f"Input of {tuple(images.shape[-2:])} px: pad height and width to multiples of "
                f"{multiple}."
            )
        x = functional.pixel_unshuffle(images, stem)
        if images.is_contiguous(memory_format=torch.channels_last):
            x = x.contiguous(memory_format=torch.channels_last)
        kept: list[Tensor] = []
        for number, level in enumerate(self.down):
            x = level(functional.max_pool2d(x, 2) if number else x)
            kept.append(x)
        for narrow, level, skip in zip(self.narrow, self.up, kept[-2::-1], strict=True):
            x = functional.interpolate(narrow(x), scale_factor=2.0, mode="nearest")
            x = level(torch.cat([x, skip], dim=1))
        return functional.pixel_shuffle(self.head(x), stem)


def _level(before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [
            nn.Conv2d(channels, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def _start_quiet(head: Any) -> None:
    """Let a fresh network find nothing: lesions are rare, and the first steps need not say so."""
    nn.init.normal_(head.weight, std=0.01)
    nn.init.constant_(head.bias, -4.0)
