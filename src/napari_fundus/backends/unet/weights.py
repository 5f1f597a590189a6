"""From a checkpoint to the U-Net that it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_fundus.checkpoints import Checkpoint
from napari_fundus.inference.load_network import check_lesions, network_of_card

if TYPE_CHECKING:
    from torch import nn

    from napari_fundus.backends.unet.network import UNetArchitecture


def load_network(checkpoint: Checkpoint) -> tuple[nn.Module, UNetArchitecture]:
    """Return the network that `checkpoint` holds, ready for inference, and what it is built from.

    Raises
    ------
    CheckpointError
        The card describes another network than the weights are for.
    """
    from napari_fundus.backends.unet.network import UNetArchitecture, build_network

    found = network_of_card(checkpoint, UNetArchitecture, build_network, what="a U-Net")
    check_lesions(checkpoint, found[1].outputs)
    return found
