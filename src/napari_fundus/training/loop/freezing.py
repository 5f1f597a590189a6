"""Fine-tuning schemes: which weights of a network stay as they are while the others are trained."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from napari_fundus.errors import TrainingError

if TYPE_CHECKING:
    from torch import nn


@runtime_checkable
class FreezableNetwork(Protocol):
    """What a network must declare so that the schemes are defined on it.

    Attributes
    ----------
    convolution_names
        Names of its L convolutions (as in ``named_modules``), from input to output.
    norm_names
        Name of the batch norm behind each of them; ``""`` where there is none.
    first_pooling_after
        Number of convolutions before the first pooling.
    last_upsampling_before
        Number (from 1) of the first convolution behind the last up-sampling.
    """

    convolution_names: tuple[str, ...]
    norm_names: tuple[str, ...]
    first_pooling_after: int
    last_upsampling_before: int


@dataclass(frozen=True)
class FineTuningScheme:
    """A fine-tuning scheme.

    Attributes
    ----------
    kind
        ``"none"``, ``"full"``, ``"freeze"`` or ``"interleaved"``.
    count
        Of ``"freeze"``: how many convolutions, from the input on.
    norms
        Whether the batch norms behind frozen convolutions are trained all the same.

    Notes
    -----
    ``none``: no training at all. ``full``: every weight. ``freeze_N``: the first N convolutions
    stay, and their batch norms with them. ``freeze_N_bn``: the first N convolutions stay, every
    batch norm is trained. ``interleaved``: every convolution before the first pooling stays, and
    between it and the last up-sampling those whose number i (from 1) has (L - i) even; every
    batch norm is trained. What follows the last convolution (a head) is always trained.

    Open in the paper: what "+ BN" means. Read here as "and the batch norms are trained", as it
    says of the interleaved scheme. Open too: the running mean and variance of a frozen batch norm.
    They stay with its weights, and the norm works as at inference: otherwise a layer called frozen
    would still change its output. Norms that are trained also follow the new data's statistics.

    References
    ----------
    Chudzik et al. 2018, Microaneurysm detection using fully convolutional neural networks.
    """

    kind: str
    count: int = 0
    norms: bool = True

    @classmethod
    def parse(cls, text: str) -> FineTuningScheme:
        """Return the scheme of a name: none, full, freeze_5, freeze_5_bn, interleaved.

        Raises
        ------
        TrainingError
            There is no such scheme.

        Examples
        --------
        >>> FineTuningScheme.parse("freeze_5_bn")
        FineTuningScheme(kind='freeze', count=5, norms=True)
        """
        if text in ("none", "full", "interleaved"):
            return cls(text)
        if found := re.fullmatch(r"freeze_([1-9]\d{0,3})(_bn)?", text):
            return cls("freeze", int(found[1]), norms=found[2] is not None)
        raise TrainingError(
            f"{text!r} is no fine-tuning scheme. Use none, full, freeze_N, freeze_N_bn (N: how "
            "many convolutions stay) or interleaved."
        )


def frozen_convolutions(network: FreezableNetwork, scheme: FineTuningScheme) -> tuple[int, ...]:
    """Return the numbers (from 1) of the convolutions that stay as they are.

    Raises
    ------
    TrainingError
        The network has fewer convolutions than are to be frozen.
    """
    total = len(network.convolution_names)
    if scheme.kind == "full":
        return ()
    if scheme.kind == "none":
        return tuple(range(1, total + 1))
    if scheme.kind == "freeze":
        if scheme.count > total:
            raise TrainingError(
                f"freeze_{scheme.count} asks for more than this network's {total} convolutions."
            )
        return tuple(range(1, scheme.count + 1))
    return tuple(
        number
        for number in range(1, network.last_upsampling_before)
        if number <= network.first_pooling_after or (total - number) % 2 == 0
    )


def freeze(network: nn.Module, scheme: str) -> None:
    """Mark which weights are trained (``requires_grad``), undoing any earlier scheme.

    Raises
    ------
    TrainingError
        The scheme does not exist, or the network does not declare its convolutions.
    """
    network.requires_grad_(scheme != "none")
    for name in _frozen_modules(network, scheme):
        network.get_submodule(name).requires_grad_(requires_grad=False)


def set_training_mode(network: nn.Module, scheme: str) -> None:
    """Put the network into training mode, except for frozen batch norms; call it each epoch."""
    network.train(scheme != "none")
    for name in _frozen_modules(network, scheme):
        network.get_submodule(name).eval()


def _frozen_modules(network: nn.Module, name: str) -> list[str]:
    """Return the names of the convolutions, and of the norms, that a scheme of that name freezes.

    With ``"none"`` no single one is frozen: the network is as a whole.
    """
    scheme = FineTuningScheme.parse(name)
    if scheme.kind in ("none", "full"):
        return []
    if not isinstance(network, FreezableNetwork):
        raise TrainingError(
            f"{type(network).__name__} does not declare its convolutions in order, so only the "
            "schemes none and full can be used with it."
        )
    names: list[str] = []
    for number in frozen_convolutions(network, scheme):
        names.append(network.convolution_names[number - 1])
        if not scheme.norms and network.norm_names[number - 1]:
            names.append(network.norm_names[number - 1])
    return names
