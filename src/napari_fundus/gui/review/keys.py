"""The reviewer's keys: bound to whatever layer is active, and given back afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


class ReviewKeys:
    """Binds keys to the active layer, since napari asks it before the viewer.

    Shapes and points layers keep their own keys: there the reviewer draws the region.

    Parameters
    ----------
    viewer
        The viewer.
    actions
        Key, as napari writes it, to what it does.
    """

    def __init__(self, viewer: ViewerModel, actions: Mapping[str, Callable[[], Any]]) -> None:
        self._viewer, self._actions = viewer, dict(actions)
        self._bound: Layer | ViewerModel | None = None
        self._before: dict[Any, Any] = {}
        self.on = False

    def hold(self) -> None:
        """Take the keys."""
        if not self.on:
            self.on = True
            self._viewer.layers.selection.events.active.connect(self._follow)
            self._follow()

    def release(self) -> None:
        """Give the keys back."""
        if self.on:
            self.on = False
            self._viewer.layers.selection.events.active.disconnect(self._follow)
            self._unbind()

    def _follow(self, event: Any = None) -> None:
        self._unbind()
        active = self._viewer.layers.selection.active
        if active is None or isinstance(active, Image | Labels):
            self._bind(self._viewer if active is None else active)

    def _bind(self, target: Any) -> None:
        self._bound, self._before = target, dict(target.keymap)
        for key, action in self._actions.items():
            target.bind_key(key, lambda _, action=action: action(), overwrite=True)

    def _unbind(self) -> None:
        target: Any = self._bound
        if target is not None:
            target.keymap.clear()
            target.keymap.update(self._before)
        self._bound = None
