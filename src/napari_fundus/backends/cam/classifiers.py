"""Networks by name: the o_O network, and any classifier of torchvision or timm."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from napari_fundus.backends.cam.architecture import OO_NETWORK, ClassifierArchitecture
from napari_fundus.backends.cam.network import OoNetwork
from napari_fundus.errors import OptionsError


def build_network(architecture: ClassifierArchitecture, *, pretrained: bool = False) -> nn.Module:
    """Return an untrained network, or one with ImageNet weights and a new last layer.

    Parameters
    ----------
    architecture
        Its definition.
    pretrained
        Fetch ImageNet weights; not for the o_O network.

    Raises
    ------
    OptionsError
        There is no classifier of that name, the package that has it is not installed, or its
        weights could not be fetched.
    """
    if architecture.network == OO_NETWORK:
        return OoNetwork(architecture)
    source, _, name = architecture.network.partition(":")
    make = _from_torchvision if source == "torchvision" else _from_timm
    return make(name, architecture.outputs, pretrained=pretrained)


def _from_torchvision(name: str, outputs: int, *, pretrained: bool) -> nn.Module:
    from torchvision import models

    if name not in models.list_models(module=models):
        raise OptionsError(
            f"torchvision has no classifier {name!r}; torchvision.models.list_models() lists them."
        )
    network = cast("nn.Module", models.get_model(name, weights=None, num_classes=outputs))
    if not pretrained:
        return network
    try:
        # `weights_only` keeps torch from running anything that a file may hold.
        tensors = models.get_model_weights(name).DEFAULT.get_state_dict(
            progress=False, check_hash=True, weights_only=True
        )
    except OSError as error:
        raise OptionsError(_NOT_FETCHED.format(name=name, error=error)) from error
    _load_matching_weights(network, tensors)
    return network


def _from_timm(name: str, outputs: int, *, pretrained: bool) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise OptionsError(
            f"The classifier 'timm:{name}' needs the package timm, which is not installed: "
            'pip install "napari-fundus[models]"'
        ) from None
    if not timm.is_model(name):
        raise OptionsError(f"timm has no classifier {name!r}; timm.list_models() lists them.")
    try:
        network: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=outputs)
    except OSError as error:
        raise OptionsError(_NOT_FETCHED.format(name=name, error=error)) from error
    return network


_NOT_FETCHED = (
    "The ImageNet weights of {name} could not be fetched: {error}. Check the network, or train "
    "without 'pretrained'."
)


def _load_matching_weights(network: nn.Module, tensors: dict[str, Any]) -> None:
    """Load all weights whose shape fits: all but the last layer's."""
    own = network.state_dict()
    fitting = {n: t for n, t in tensors.items() if n in own and own[n].shape == t.shape}
    network.load_state_dict({**own, **fitting})
