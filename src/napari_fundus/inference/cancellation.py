"""Cancelling within a network, which may take seconds for a picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from napari_fundus.runtime.progress import Monitor

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def cancel_between_layers(
    network: nn.Module, monitor: Monitor, message: str | None = None
) -> Iterator[None]:
    """Heed cancelling before each layer, as long as the context is open.

    Parameters
    ----------
    network
        Whose layers.
    monitor
        Asked before each of them.
    message
        Given, the monitor also takes a step at each of the network's stages.
    """
    named = network.children() if message is not None else ()
    stages = {stage: number for number, stage in enumerate(named, start=1)}

    def before(module: nn.Module, _: Any) -> None:
        if module in stages:
            monitor.step(stages[module] / (len(stages) + 1), message or "")
        else:
            monitor.check()

    handles = [module.register_forward_pre_hook(before) for module in network.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
