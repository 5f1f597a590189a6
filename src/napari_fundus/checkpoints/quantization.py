"""How weights are rounded for a smaller file, and brought back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Storage = Literal["float32", "float16", "int8"]

_HALF_MAX = 65504.0
_SCALE = "::scale"
"""Ends the name of the tensor that holds how much one step of an 8-bit tensor is."""


def quantize_weights(
    tensors: Mapping[str, torch.Tensor], storage: Storage
) -> dict[str, torch.Tensor]:
    """Return `tensors` as they are stored.

    Parameters
    ----------
    tensors
        Name to tensor on the CPU, finite.
    storage
        float32 tensors of two or more axes are rounded: ``"float16"`` to half precision (relative
        error up to 5e-4; what exceeds its range stays as it is), ``"int8"`` to 255 steps for each
        output channel (error up to 1/254 of the channel's largest weight). Others, such as biases
        and batch-norm values, which are few, stay as they are.
    """
    import torch

    packed: dict[str, torch.Tensor] = {}
    for name, value in tensors.items():
        rounded = value.dtype == torch.float32 and value.ndim >= 2 and value.numel() > 0
        if rounded and storage == "float16" and float(value.abs().max()) < _HALF_MAX:
            packed[name] = value.half()
        elif rounded and storage == "int8":
            largest = value.abs().amax(dim=tuple(range(1, value.ndim)), keepdim=True)
            scale = (largest / 127).clamp_min(torch.finfo(torch.float32).tiny)
            packed[name] = (value / scale).round().clamp(-127, 127).to(torch.int8)
            packed[name + _SCALE] = scale
        else:
            packed[name] = value
    return packed


def dequantize_weights(packed: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors that :func:`quantize_weights` stored, the quantized ones as float32.

    Raises
    ------
    ValueError
        A scale does not fit its tensor.
    """
    import torch

    tensors: dict[str, torch.Tensor] = {}
    for name, value in packed.items():
        if name.endswith(_SCALE):
            if name.removesuffix(_SCALE) not in packed:
                raise ValueError(f"{name} has no tensor")
            continue
        scale = packed.get(name + _SCALE)
        if scale is not None:
            fits = (*value.shape[:1], *[1] * (value.ndim - 1))
            if value.dtype != torch.int8 or tuple(scale.shape) != fits:
                raise ValueError(f"the scale of {name} does not fit it")
            tensors[name] = value.float() * scale.float()
        else:
            tensors[name] = value.float() if value.dtype == torch.float16 else value
    return tensors
