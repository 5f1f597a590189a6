"""Microaneurysms by a small network whose overlapping patches vote on every pixel."""

from __future__ import annotations

from napari_fundus.backends.voting.detector import Voting
from napari_fundus.backends.voting.options import VotingOptions
from napari_fundus.detector import Detector, hookimpl

__all__ = ["Voting", "VotingOptions", "napari_fundus_detectors"]


@hookimpl
def napari_fundus_detectors() -> list[type[Detector]]:
    """Return the detectors of this room."""
    return [Voting]
