"""Turns, flips, zoom, contrast, brightness and colour of a batch, each image with its own."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from napari_fundus.backends.cam.training_options import CamTrainingOptions


def augment_images(images: Tensor, options: CamTrainingOptions) -> Tensor:
    """Return varied copies; random numbers come from torch's global generator of the CPU.

    Parameters
    ----------
    images
        Float, shape (N, 3, S, S), 0 outside the disc.
    options
        What is varied, and how much.
    """
    count = len(images)
    # Angle, zoom, flip, contrast, brightness; and a gain of each plane. In [-1, 1].
    draw, planes = 2 * torch.rand(count, 5) - 1, 2 * torch.rand(count, 3) - 1
    if options.rotation or options.scale or options.flips:
        angle = draw[:, 0] * math.radians(options.rotation)
        zoom = 1 + options.scale * draw[:, 1]
        mirror = torch.where(draw[:, 2] < 0, -1.0, 1.0) if options.flips else torch.ones(count)
        cos, sin = angle.cos() / zoom, angle.sin() / zoom
        zero = torch.zeros(count)
        rows = torch.stack([mirror * cos, -sin, zero, mirror * sin, cos, zero], dim=1)
        # On the CPU and then moved: the transform of a graphics card need not round as this one.
        grid = F.affine_grid(rows.view(-1, 2, 3).to(images), list(images.shape), False)  # noqa: FBT003
        images = F.grid_sample(images, grid, align_corners=False)
    gain = (1 + options.contrast * draw[:, 3:4]) * (1 + options.colour * planes)
    shift = options.brightness * draw[:, 4]
    return images * gain[:, :, None, None].to(images) + shift[:, None, None, None].to(images)
