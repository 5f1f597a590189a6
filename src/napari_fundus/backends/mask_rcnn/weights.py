"""From a checkpoint to the Mask R-CNN that it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_fundus.checkpoints import Checkpoint
from napari_fundus.inference.load_network import check_lesions, network_of_card

if TYPE_CHECKING:
    from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

    from napari_fundus.backends.mask_rcnn.network import MaskRCNNArchitecture


def load_network(checkpoint: Checkpoint) -> tuple[GeneralizedRCNN, MaskRCNNArchitecture]:
    """Return the network that `checkpoint` holds, ready for inference, and what it is built from.

    Raises
    ------
    CheckpointError
        The card describes another network than the weights are for.
    """
    from napari_fundus.backends.mask_rcnn.network import MaskRCNNArchitecture, build_network

    found = network_of_card(checkpoint, MaskRCNNArchitecture, build_network, what="a Mask R-CNN")
    check_lesions(checkpoint, found[1].classes)
    return found
