"""Connections to signals of napari's viewer and layers that end together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Connections:
    """Connects actions to napari's and psygnal's signals, and disconnects them all at once."""

    def __init__(self) -> None:
        self._made: list[tuple[Any, Callable[..., Any]]] = []

    def __bool__(self) -> bool:
        """Return whether anything is connected."""
        return bool(self._made)

    def connect(self, action: Callable[..., Any], *signals: Any) -> None:
        """Call `action` whenever one of the signals is emitted."""
        for signal in signals:
            signal.connect(action)
            self._made.append((signal, action))

    def disconnect(self) -> None:
        """End all connections."""
        made, self._made = self._made, []
        for signal, action in made:
            signal.disconnect(action)
