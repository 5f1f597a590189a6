"""From a checkpoint to the patch network that it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_fundus.checkpoints import Checkpoint
from napari_fundus.inference.load_network import check_lesions, network_of_card

if TYPE_CHECKING:
    from napari_fundus.backends.voting.network import PatchNetwork


def load_network(checkpoint: Checkpoint) -> PatchNetwork:
    """Return the network that `checkpoint` holds, ready for inference.

    Raises
    ------
    CheckpointError
        The card describes another network than the weights are for.
    """
    from napari_fundus.backends.voting.network import PatchNetwork, PatchNetworkArchitecture

    network, architecture = network_of_card(
        checkpoint, PatchNetworkArchitecture, PatchNetwork, what="a patch network"
    )
    check_lesions(checkpoint, architecture.outputs)
    return network
