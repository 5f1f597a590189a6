"""Where a classifier looked: plain class activation maps, and those of torchcam."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from napari_fundus.backends.cam.architecture import Target
from napari_fundus.backends.cam.network import OoNetwork
from napari_fundus.backends.cam.options import Method
from napari_fundus.backends.cam.targets import log_odds, positive_grade
from napari_fundus.errors import OptionsError

if TYPE_CHECKING:
    from torchcam.methods.core import _CAM

_TORCHCAM = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMpp",
    "layercam": "LayerCAM",
    "scorecam": "ScoreCAM",
}

_MASKS_AT_ONCE = 8
"""Masked images that Score-CAM puts through the network together; it asks the monitor between."""


class LogOddsClassifier(nn.Module):
    """A classifier of one output: the log-odds of disease, whatever the outputs of `network`.

    What a heat map shows is then the same for all targets; the maps of five classes, for one, are
    those of the diseased grades less those of the others, each by its share.

    Parameters
    ----------
    network
        Classifier with logits (N, K).
    target
        What its logits mean.
    temperature
        What they are divided by.
    on_batch
        Called before each pass; may raise to cancel.
    """

    def __init__(
        self,
        network: nn.Module,
        target: Target,
        temperature: float = 1.0,
        on_batch: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self.network, self.target = network, target
        self.temperature, self.on_batch = temperature, on_batch

    def forward(self, x: Tensor) -> Tensor:
        """Return the log-odds, shape (N, 1)."""
        self.on_batch()
        return self.odds(self.network(x))[:, None]

    def odds(self, logits: Tensor) -> Tensor:
        """Return the log-odds of logits, shape (N,)."""
        return log_odds(self.target, logits / self.temperature, positive_grade(self.target))


def resolve_method(method: Method, network: nn.Module) -> Method:
    """Return the method that ``"auto"`` stands for.

    Raises
    ------
    OptionsError
        The network has no plain maps.
    """
    plain = isinstance(network, OoNetwork)
    if method == "cam" and not plain:
        raise OptionsError(
            "Option 'method' = 'cam': these weights are of a network without plain class "
            "activation maps. Choose gradcam, gradcam++, layercam, scorecam or auto."
        )
    if method != "auto":
        return method
    return "cam" if plain else "gradcam"


def activation_map(
    odds: LogOddsClassifier, images: Tensor, method: Method, *, layer: str | None = None
) -> tuple[Tensor, Tensor]:
    """Return the logits, and the map of what raised the log-odds of disease.

    Parameters
    ----------
    odds
        The classifier.
    images
        Shape (1, 3, S, S).
    method
        As :func:`resolve_method` returned it.
    layer
        Name of the layer to look at, for the methods of torchcam; None: the last one with maps.

    Returns
    -------
    logits
        Of the network itself, not divided by a temperature: shape (1, K).
    map
        Shape (1, h, w), at the resolution of the layer; not scaled. For ``"cam"`` it holds what
        speaks against disease too, as values below 0.

    Raises
    ------
    OptionsError
        There is no such layer.
    """
    if method != "cam":
        return _torchcam(odds, images, method, layer)
    network = odds.network
    if not isinstance(network, OoNetwork):
        raise OptionsError("Plain class activation maps are those of the o_O network alone.")
    odds.on_batch()
    with torch.inference_mode():
        logits, maps = network.forward_with_maps(images)
    # Maps and logits are linear in the features: the gradient of the log-odds weighs them alike.
    leaf = logits.clone().requires_grad_()
    with torch.enable_grad():
        weights = torch.autograd.grad(odds.odds(leaf).sum(), leaf)[0]
    return logits, (weights[:, :, None, None] * maps).sum(dim=1)


def _torchcam(
    odds: LogOddsClassifier, images: Tensor, method: Method, layer: str | None
) -> tuple[Tensor, Tensor]:
    kept: list[Tensor] = []
    shape = tuple(images.shape[1:])
    with (
        _quiet(),
        _without_in_place(odds),
        _record_outputs(odds.network, kept),
        _extractor(odds, method, layer, shape) as extractor,
        torch.enable_grad(),
    ):
        scores = odds(images)
        logits = kept[-1].detach()
        (found,) = extractor(0, scores, normalized=False)
    if found.ndim != 3:
        raise OptionsError(
            f"Layer {extractor.target_names[0]!r} gives no maps: name another one as the option "
            "'layer'."
        )
    return logits, found.detach()


@contextmanager
def _extractor(
    odds: LogOddsClassifier, method: Method, layer: str | None, shape: tuple[int, ...]
) -> Iterator[_CAM]:
    """Keep torchcam's extractor on the network while the block runs."""
    try:
        from torchcam import methods
    except ImportError:
        raise OptionsError(
            f"Option 'method' = {method!r} needs the package torchcam, which is not installed: "
            'pip install "napari-fundus[models]"'
        ) from None
    more: dict[str, Any] = {"batch_size": _MASKS_AT_ONCE} if method == "scorecam" else {}
    name = None if layer is None else f"network.{layer}"
    try:
        extractor = getattr(methods, _TORCHCAM[method])(odds, name, input_shape=shape, **more)
    except ValueError as error:
        known = [n for n, _ in odds.network.named_children()]
        raise OptionsError(
            f"Option 'layer' = {layer!r}: {error}. Parts of this network: {', '.join(known)}."
        ) from error
    with extractor:
        yield extractor


@contextmanager
def _record_outputs(network: nn.Module, kept: list[Tensor]) -> Iterator[None]:
    """Note the first outputs of `network` while the block runs."""
    handle = network.register_forward_hook(lambda _module, _input, output: kept.append(output))
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _without_in_place(network: nn.Module) -> Iterator[None]:
    """Let no activation overwrite its input, of which the gradient is asked, while the block runs.

    Gradients with regard to a layer's output need that output as it was.
    """
    changed: list[Any] = [m for m in network.modules() if getattr(m, "inplace", False) is True]
    for module in changed:
        module.inplace = False
    try:
        yield
    finally:
        for module in changed:
            module.inplace = True


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torchcam from telling which layer it chose."""
    logger = logging.getLogger("torchcam")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def average_maps(maps: list[Tensor], side: int) -> Tensor:
    """Return one map from 0 to 1, shape (side, side), of maps at several resolutions.

    What speaks against disease, below 0, is left out; each map is brought to `side` by linear
    interpolation and divided by its largest value, and so is their mean.
    """
    scaled = [
        _normalize(F.interpolate(m[:, None], (side, side), mode="bilinear", align_corners=False))
        for m in maps
    ]
    return _normalize(torch.stack(scaled).mean(dim=0))[0, 0]


def _normalize(values: Tensor) -> Tensor:
    values = values.clamp(min=0)
    peak = values.max()
    return values / peak if float(peak) > 0 else values
