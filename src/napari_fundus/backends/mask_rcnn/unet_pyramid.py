"""A pyramid of features that a U-Net already has: the light backbone, and how boxes read it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import roi_align

from napari_fundus.inference.plain_unet import PlainUNet


class UNetPyramid(nn.Module):
    """Features of a plain U-Net with stem 2, of all levels on the way up, brought to one width.

    A U-Net that was trained to mark lesions knows on its finest level where they are. So that those
    who search the next level, of 4 px, know it too, the finest one is laid beside it, four pixels
    as channels of one.

    Parameters
    ----------
    planes, filters, stem
        As of `PlainUNet`.
    channels
        Of each level of the pyramid.

    Attributes
    ----------
    frozen
        Whether the U-Net stays as it is, and so needs no gradient.
    """

    FINEST: ClassVar[str] = "finest"

    def __init__(self, *, planes: int, filters: Sequence[int], stem: int, channels: int) -> None:
        super().__init__()
        self.unet = PlainUNet(planes=planes, outputs=1, filters=filters, stem=stem)
        self.unet.head = nn.Identity()  # type: ignore[assignment]
        fine, *coarser = filters
        widths = [fine, coarser[0] + 4 * fine, *coarser[1:]]
        self.lateral = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
            )
            for width in widths
        )
        self.out_channels = channels
        self.frozen = False

    def train(self, mode: bool = True) -> UNetPyramid:  # noqa: FBT001, FBT002
        """Set the mode; the U-Net's normalizations keep the statistics that they came with.

        Four patches drawn near lesions tell less of a picture than its own training did.
        """
        super().train(mode)
        self.unet.eval()
        return self

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Return the levels, the finest first; height and width are multiples of 32.

        Parameters
        ----------
        images
            Float, shape (B, P, H, W).
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            levels = self.unet.features(images)[::-1]
        levels[1] = torch.cat([levels[1], functional.pixel_unshuffle(levels[0], 2)], dim=1)
        names = (self.FINEST, *(str(number) for number in range(len(levels) - 1)))
        return OrderedDict(
            (name, lateral(level))
            for name, lateral, level in zip(names, self.lateral, levels, strict=True)
        )


class PyramidRoIAlign(nn.Module):
    """What a box holds, read from the level on which it spans 7 to 14 cells.

    torchvision's own lets every box below 112 px read the finest level, and reads half a cell aside
    (``aligned=False``): for lesions of 9 px that is much.

    Parameters
    ----------
    side
        Height and width of what is returned.
    samples
        Points along each axis that a value is the mean of.
    """

    def __init__(self, side: int, *, samples: int) -> None:
        super().__init__()
        self.side, self.samples = side, samples

    def forward(
        self,
        features: Mapping[str, Tensor],
        boxes: list[Tensor],
        image_shapes: list[tuple[int, int]],
    ) -> Tensor:
        """Return float (N, C, side, side), the boxes of all pictures one after the other.

        Parameters
        ----------
        features
            Levels, the finest (2 px) first, each half as fine as the one before.
        boxes
            Float (N, 4) for each picture.
        image_shapes
            Not needed.
        """
        del image_shapes
        levels = list(features.values())
        number = torch.cat([torch.full_like(b[:, :1], i) for i, b in enumerate(boxes)])
        rois = torch.cat([number, torch.cat(boxes)], dim=1)
        extent = ((rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])).clamp(min=1).sqrt()
        chosen = (extent / 14).log2().floor().clamp(0, len(levels) - 1).long()
        found = levels[0].new_zeros(len(rois), levels[0].shape[1], self.side, self.side)
        for index, level in enumerate(levels):
            own = torch.where(chosen == index)[0]
            scale = 2.0 ** -(index + 1)
            # Coordinates stay float32, and so must what is read, whatever the precision.
            part = roi_align(level.float(), rois[own], self.side, scale, self.samples, aligned=True)
            found = found.index_copy(0, own, part.to(found))
        return found
