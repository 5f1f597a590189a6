"""A patch classifier slid over those parts of a picture that a map makes suspect."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from napari_fundus.inference.memory import run_halving_on_out_of_memory
from napari_fundus.inference.thread_pool import batch_workers
from napari_fundus.runtime.devices import CPU, Device, Precision, preferred_precision
from napari_fundus.runtime.progress import Monitor

if TYPE_CHECKING:
    from torch import Tensor, nn

Float = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]
PatchCentres = list[list[int]]
"""Rows and columns of some patches."""


def suspect_patch_centres(suspect: Bool, stride: int) -> npt.NDArray[np.int64]:
    """Return where the classifier looks: places on a grid whose cell holds a suspect pixel.

    Parameters
    ----------
    suspect
        bool, shape (H, W).
    stride
        Step of the grid in pixels; 1 looks at every suspect pixel.

    Returns
    -------
    ndarray
        int64, shape (N, 2): row and column, the middle of each cell.
    """
    height, width = suspect.shape
    padded = np.pad(suspect, ((0, -height % stride), (0, -width % stride)))
    rows, cols = padded.shape[0] // stride, padded.shape[1] // stride
    cells = padded.reshape(rows, stride, cols, stride).any(axis=(1, 3))
    places = np.argwhere(cells) * stride + stride // 2
    within: npt.NDArray[np.int64] = np.minimum(places, np.array([height - 1, width - 1]))
    return within


def run_patches(
    network: nn.Module,
    picture: Float,
    centres: npt.NDArray[np.integer],
    *,
    patch: int,
    batch: int = 128,
    fill: float = 0.0,
    device: Device = CPU,
    precision: Precision | Literal["auto"] = "auto",
    monitor: Monitor | None = None,
) -> Float:
    """Run `network` over patches around `centres`; where memory runs out, in smaller batches.

    Parameters
    ----------
    network
        Float (B, P, S, S) to (B, …).
    picture
        float32, shape (P, H, W).
    centres
        Shape (N, 2): rows and columns of the patches' centres.
    patch
        Their side S, odd.
    batch
        Patches at once; on a CPU shared out among the cores.
    fill
        What is seen beyond the picture.
    device, precision
        Where and in which arithmetic to compute.
    monitor
        Takes a step a batch; may cancel.

    Returns
    -------
    ndarray
        float32, shape (N, …): the network's answers.

    Raises
    ------
    Cancelled
        The run was cancelled.
    DeviceError
        The memory does not suffice for a single patch.
    """
    import torch

    monitor = monitor or Monitor()
    if not len(centres):
        return np.zeros(0, np.float32)
    chosen = preferred_precision(device) if precision == "auto" else precision
    half = patch // 2
    padded = np.pad(picture, ((0, 0), (half, half), (half, half)), constant_values=fill)
    network = network.to(device.name, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    # The picture goes to the device once; patches are cut there.
    whole = torch.from_numpy(padded).to(device.name)

    def predict(part: PatchCentres) -> Tensor:
        # Both modes are a thread's own.
        autocast = (
            torch.autocast(device.kind, torch.bfloat16) if chosen == "bfloat16" else nullcontext()
        )
        with torch.inference_mode(), autocast:
            patches = torch.stack([whole[:, r : r + patch, c : c + patch] for r, c in part])
            values: Tensor = network(patches.contiguous(memory_format=torch.channels_last))
            return values.float().cpu()

    def predict_all(size: int) -> Float:
        results: list[Tensor] = []
        done, total = 0, len(centres)
        monitor.step(0.0, f"patch 1 of {total}")
        with batch_workers(device) as workers:
            step = -(-size // workers.size)
            parts = (centres[start : start + step].tolist() for start in range(0, total, step))
            for part, values in workers.map(predict, parts):
                results.append(values)
                done += len(part)
                monitor.step(done / total, f"patch {done} of {total}")
        return np.asarray(torch.cat(results).numpy())

    values, _ = run_halving_on_out_of_memory(
        predict_all, batch, least=1, what="batch size", device=device
    )
    return values


def run_sliding_window(
    network: nn.Module,
    picture: Float,
    suspect: Bool,
    *,
    patch: int,
    stride: int = 1,
    **how: Any,
) -> Float:
    """Return the classifier's probability at the suspect pixels, 0 elsewhere.

    Parameters
    ----------
    network
        Float (B, P, S, S) to logits (B,).
    picture
        float32, shape (P, H, W).
    suspect
        bool, shape (H, W).
    patch
        Side of the patches.
    stride
        Of the grid that the classifier looks at; between its places values are interpolated.
    **how
        As :func:`run_patches` takes it: batch, fill, device, precision, monitor.

    Returns
    -------
    ndarray
        float32, shape (H, W), in [0, 1].
    """
    result = np.zeros(suspect.shape, np.float32)
    centres = suspect_patch_centres(suspect, stride)
    if not len(centres):
        return result
    logits = run_patches(network, picture, centres, patch=patch, **how)
    values = (1 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
    if stride == 1:
        result[centres[:, 0], centres[:, 1]] = values
    else:
        result = _interpolate(values, centres, suspect.shape, stride)
    result[~suspect] = 0
    return result


def _interpolate(
    values: Float, centres: npt.NDArray[np.int64], shape: tuple[int, ...], stride: int
) -> Float:
    """Interpolate linearly between the places looked at; a place not looked at has no say."""
    import cv2

    grid = tuple(-(-n // stride) for n in shape)
    sums, known = np.zeros(grid, np.float32), np.zeros(grid, np.float32)
    at = centres // stride
    sums[at[:, 0], at[:, 1]] = values
    known[at[:, 0], at[:, 1]] = 1
    size = grid[1] * stride, grid[0] * stride
    both = [cv2.resize(m, size, interpolation=cv2.INTER_LINEAR) for m in (sums, known)]
    weight = np.where(both[1] > 0, both[1], np.float32(1))
    spread: Float = (both[0] / weight).astype(np.float32, copy=False)
    return spread[: shape[0], : shape[1]]
