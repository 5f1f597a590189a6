"""The patch network rewritten for inference: fewer operations, the same function."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


class _Network(Protocol):
    """The parts of a `PatchNetwork` that are fused."""

    architecture: Any
    convolutions: nn.ModuleList
    norms: nn.ModuleList
    projections: nn.ModuleDict
    output: nn.Conv2d


def fuse_conv_bn(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the one convolution that does both, as float64.

    Exact but for rounding: ``norm(conv(x)) = (γ/σ)·conv(x) + (β − γμ/σ)``, zero padding included,
    since the normalization comes behind it.
    """
    mean, variance = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
    scale = norm.weight.double() / torch.sqrt(variance.double() + norm.eps)
    weight = convolution.weight.double() * scale[:, None, None, None]
    bias = norm.bias.double() - mean.double() * scale
    if convolution.bias is not None:
        bias = bias + convolution.bias.double() * scale
    return weight.detach(), bias.detach()


def phase_kernels(weight: Tensor) -> dict[tuple[int, int], Tensor]:
    """Return the four 2×2 kernels that equal a 3×3 one behind a 2× nearest up-sampling.

    Of the nine pixels under the kernel, those copied from one pixel are summed beforehand. The even
    pixels of a side see the copies (i−1, i, i), the odd ones (i, i, i+1): per side two taps instead
    of three, so 4/9 of the work, and no enlarged map is ever written.

    Parameters
    ----------
    weight
        Shape (out, in, 3, 3).

    Returns
    -------
    dict
        (row phase, column phase), each 0 or 1, to a kernel of shape (out, in, 2, 2).
    """

    def halves(w: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        first, middle, last = w.unbind(dim)
        return (
            torch.stack([first, middle + last], dim),
            torch.stack([first + middle, last], dim),
        )

    return {
        (row, column): kernel
        for row, rows in enumerate(halves(weight, 2))
        for column, kernel in enumerate(halves(rows, 3))
    }


class FusedPatchNetwork(nn.Module):
    """The function of a trained `PatchNetwork` in evaluation mode, for inference alone.

    Normalizations are folded into the convolutions; projections of an up-sampled map are done
    before its up-sampling; a convolution behind a bare up-sampling becomes four 2×2 ones
    (`phase_kernels`); and where the output layer follows that, the map of full size is never made.
    Equal to the network to about 1e-6 in float32.

    Parameters
    ----------
    network
        The trained network; it is not changed, and later changes of it do not show here.
    """

    def __init__(self, network: _Network) -> None:
        super().__init__()
        self.architecture = arch = network.architecture
        self._slope = arch.slope
        self._skips = dict(zip(arch.upsamplings_before, arch.skips, strict=True))
        widths = (arch.planes, *arch.widths)
        for index, (convolution, norm) in enumerate(
            zip(network.convolutions, network.norms, strict=True)
        ):
            number = index + 1
            weight, bias = fuse_conv_bn(
                cast("nn.Conv2d", convolution), cast("nn.BatchNorm2d", norm)
            )
            self._keep(f"bias_{number}", bias)
            if self._skips.get(number) == "output":
                for (row, column), kernel in phase_kernels(weight).items():
                    self._keep(f"weight_{number}_{row}{column}", kernel)
            else:
                self._keep(f"weight_{number}", weight)
        for name, pair in network.projections.items():
            weight, bias = fuse_conv_bn(*cast("nn.Sequential", pair))
            below = widths[int(name) - 1]
            self._keep(f"project_up_{name}", weight[:, :below])
            self._keep(f"project_skip_{name}", weight[:, below:])
            self._keep(f"project_bias_{name}", bias)
        self._keep("output_weight", network.output.weight.detach())
        self._keep("output_bias", cast("Tensor", network.output.bias).detach())
        self.eval()

    def _keep(self, name: str, tensor: Tensor) -> None:
        """Register a float32 buffer, with convolution weights in the layout of the maps."""
        tensor = tensor.float()
        if tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        self.register_buffer(name, tensor.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return probabilities, shape (N, outputs, S, S)."""
        arch = self.architecture
        kept: list[Tensor] = []
        for number in range(1, len(arch.widths) + 1):
            skip = self._skips.get(number)
            if skip == "output" and number == len(arch.widths):
                return self._last(x, kept.pop(), number)
            if skip == "output":
                x = self._upsampled(x, number)
            else:
                if skip == "project":
                    x = self._project(x, kept.pop(), number)
                elif skip == "concat":
                    x = torch.cat([F.interpolate(x, scale_factor=2), kept.pop()], dim=1)
                x = F.conv2d(x, self._get("weight", number), self._get("bias", number), padding=1)
                x = F.leaky_relu_(x, self._slope)
            if number in arch.poolings_after:
                kept.append(x)
                x = F.max_pool2d(x, 2)
        return torch.sigmoid(self._output(torch.cat([x, *kept], dim=1) if kept else x))

    def _get(self, name: str, number: int, ending: str = "") -> Tensor:
        return self.get_buffer(f"{name}_{number}{ending}")

    def _output(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.get_buffer("output_weight"), self.get_buffer("output_bias"))

    def _project(self, x: Tensor, skip: Tensor, number: int) -> Tensor:
        """Return the projection of the up-sampled `x` and `skip`, `x` projected before it grows."""
        up = F.conv2d(x, self._get("project_up", number))
        y = F.conv2d(skip, self._get("project_skip", number), self._get("project_bias", number))
        n, c, height, width = up.shape
        # With (N, H, W, C) in memory, pairs of rows and columns are plain views.
        y = y.contiguous(memory_format=torch.channels_last)
        cells = y.permute(0, 2, 3, 1).view(n, height, 2, width, 2, c)
        cells += up.permute(0, 2, 3, 1).view(n, height, 1, width, 1, c)
        return F.leaky_relu_(y, self._slope)

    def _phases(self, x: Tensor, number: int) -> Iterator[tuple[int, int, Tensor]]:
        """Yield the four phases of convolution `number` of the up-sampled `x`."""
        for row in (0, 1):
            for column in (0, 1):
                # Padded on the one side that this phase's kernel reaches over.
                padded = F.pad(x, (1 - column, column, 1 - row, row))
                weight = self._get("weight", number, f"_{row}{column}")
                y = F.conv2d(padded, weight, self._get("bias", number))
                yield row, column, F.leaky_relu_(y, self._slope)

    def _upsampled(self, x: Tensor, number: int) -> Tensor:
        """Return convolution `number` of the up-sampled `x`."""
        n, _, height, width = x.shape
        y = torch.empty(
            (n, self.architecture.widths[number - 1], 2 * height, 2 * width),
            dtype=x.dtype,
            device=x.device,
            memory_format=torch.channels_last,
        )
        for row, column, phase in self._phases(x, number):
            y[:, :, row::2, column::2] = phase
        return y

    def _last(self, x: Tensor, skip: Tensor, number: int) -> Tensor:
        """Return the probabilities where convolution `number` of the up-sampled `x` is the last."""
        n, _, height, width = x.shape
        outputs = self.architecture.outputs
        weight = self.get_buffer("output_weight")[:, :, 0, 0].T
        split = self.architecture.widths[number - 1]
        rows = skip.permute(0, 2, 3, 1).reshape(-1, skip.shape[1])
        logits = torch.addmm(self.get_buffer("output_bias"), rows, weight[split:])
        cells = logits.view(n, height, 2, width, 2, outputs)
        for row, column, phase in self._phases(x, number):
            rows = phase.permute(0, 2, 3, 1).reshape(-1, split)
            cells[:, :, row, :, column] += (rows @ weight[:split]).view(n, height, width, outputs)
        probabilities = cells.view(n, 2 * height, 2 * width, outputs).sigmoid_()
        return probabilities.permute(0, 3, 1, 2)
