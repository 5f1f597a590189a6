"""Embeddings of a refiner: lesions as points whose distance shows how much they differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fundus.backends.multiscale.options import DEFAULT_CHECKPOINT
from napari_fundus.backends.multiscale.stages import load_refiner, stage_recipe
from napari_fundus.checkpoints import load_checkpoint
from napari_fundus.image import FundusImage
from napari_fundus.inference.sliding_window import run_patches
from napari_fundus.preprocessing.network_input import INPUT_FILL, to_network_input
from napari_fundus.runtime.devices import choose_device
from napari_fundus.runtime.progress import Monitor

Float = npt.NDArray[np.float32]


def embed_points(
    image: FundusImage,
    places: npt.NDArray[Any],
    *,
    checkpoint: str = DEFAULT_CHECKPOINT,
    device: str = "auto",
    monitor: Monitor | None = None,
) -> tuple[Float, Float]:
    """Return what the refiner makes of the surroundings of places in a photograph.

    Parameters
    ----------
    image
        The photograph.
    places
        Shape (N, 2): row and column in the photograph's pixels, such as lesions' centroids.
    checkpoint
        Weights of the multi-scale detector with the stage ``refine``.
    device, monitor
        As in ``Detector.detect``.

    Returns
    -------
    embeddings
        float32, shape (N, D), of length 1 each: their angles are what the triplet loss shaped.
    probability
        float32, shape (N,): that the place is a lesion.

    Raises
    ------
    OptionsError, CheckpointError
        The weights have no refiner, or cannot be used.
    Cancelled
        The run was cancelled.
    """
    import torch
    from torch import nn

    monitor = monitor or Monitor()
    known = load_checkpoint(checkpoint, detector="multiscale")
    refiner = load_refiner(known, "refine")
    prepared = stage_recipe(known, "refine").apply(image, monitor.part(0.0, 0.3))
    if not len(places):
        return np.zeros((0, refiner.embedding_length), np.float32), np.zeros(0, np.float32)
    shape = prepared.field_of_view.shape
    rows_cols = np.rint(prepared.geometry.forward_points(np.asarray(places, float)))
    centres = np.clip(rows_cols.astype(np.int64), 0, np.array(shape) - 1)

    class Both(nn.Module):
        def forward(self, patches: torch.Tensor) -> torch.Tensor:
            logits, embeddings = refiner(patches)
            return torch.cat([embeddings, logits.sigmoid()[:, None]], dim=1)

    found = run_patches(
        Both(),
        to_network_input(prepared),
        centres,
        patch=refiner.architecture.patch,
        fill=INPUT_FILL,
        device=choose_device(device, supported=("cpu", "cuda", "mps")),
        monitor=monitor.part(0.3, 1.0),
    )
    embeddings, probability = found[:, :-1], found[:, -1]
    length = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.maximum(length, np.float32(1e-12)), probability


def project_pca(embeddings: npt.NDArray[Any]) -> Float:
    """Return embeddings as points of a plane: the two directions in which they differ most.

    Parameters
    ----------
    embeddings
        Float, shape (N, D).

    Returns
    -------
    ndarray
        float32, shape (N, 2), from −1 to 1; principal components, with the same unit on both axes.
        Fewer than two different embeddings lie at 0.
    """
    values = np.asarray(embeddings, np.float64)
    plane = np.zeros((len(values), 2), np.float32)
    if len(values) < 2:
        return plane
    _, _, directions = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    # The sign is free: the largest component is made positive, so that it is the same every time.
    signs = np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)])
    wanted = (directions * np.where(signs == 0, 1, signs)[:, None])[:2]
    found = (values - values.mean(axis=0)) @ wanted.T
    plane[:, : found.shape[1]] = found / max(np.abs(found).max(), 1e-12)
    return plane


def nearest_neighbours(
    embeddings: npt.NDArray[Any], index: int, count: int = 5
) -> npt.NDArray[np.int64]:
    """Return the lesions most alike to one, the most alike first.

    Parameters
    ----------
    embeddings
        Float, shape (N, D), of length 1 each.
    index
        Of the lesion; it is not among those returned.
    count
        How many at most.
    """
    alike = np.asarray(embeddings) @ np.asarray(embeddings)[index]
    order: npt.NDArray[np.int64] = np.argsort(-alike, kind="stable")
    others: npt.NDArray[np.int64] = order[order != index][:count]
    return others
