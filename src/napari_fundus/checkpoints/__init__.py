"""Weights of networks: safetensors files with a model card, and the zoo they are found in."""

from __future__ import annotations

from napari_fundus.checkpoints.card import ModelCard, Parent, Split
from napari_fundus.checkpoints.file import Checkpoint, read_card, read_checkpoint, save_checkpoint
from napari_fundus.checkpoints.install import check_checkpoint_name, install_checkpoint
from napari_fundus.checkpoints.zoo import (
    CheckpointInfo,
    Download,
    ResolvedCheckpoint,
    bundled_folder,
    list_checkpoints,
    load_checkpoint,
    models_folder,
    register_download,
    resolve_checkpoint,
)

__all__ = [
    "Checkpoint",
    "CheckpointInfo",
    "Download",
    "ModelCard",
    "Parent",
    "ResolvedCheckpoint",
    "Split",
    "bundled_folder",
    "check_checkpoint_name",
    "install_checkpoint",
    "list_checkpoints",
    "load_checkpoint",
    "models_folder",
    "read_card",
    "read_checkpoint",
    "register_download",
    "resolve_checkpoint",
    "save_checkpoint",
]
