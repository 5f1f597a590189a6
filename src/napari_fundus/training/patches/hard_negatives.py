"""Selective sampling: of many patches without a lesion, hard ones are drawn more often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(eq=False)
class HardNegativePool:
    """Places to draw from in proportion to how wrong the network is there.

    Attributes
    ----------
    places
        int64, shape (N, 3): image, row and column.
    losses
        float32, shape (N,), none negative: of the network as it was when the pool was scored.
        Where all are 0 each place is as likely.

    Notes
    -----
    Sarhan et al. 2019, arXiv:1904.12732, Section 2.2.
    """

    places: Ints
    losses: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    def __post_init__(self) -> None:
        if not len(self.losses):
            self.losses = np.ones(len(self.places), np.float32)
        self._cumulative = np.cumsum(self.losses.astype(np.float64) + 1e-12)

    def draw(self, rng: np.random.Generator, count: int) -> Ints:
        """Draw `count` places with repetition: int64, shape (count, 3)."""
        drawn = np.searchsorted(
            self._cumulative, rng.random(count) * self._cumulative[-1], side="right"
        )
        chosen: Ints = self.places[np.minimum(drawn, len(self.places) - 1)]
        return chosen

    def state(self) -> Mapping[str, npt.NDArray[np.generic]]:
        """Return the arrays that describe the pool."""
        return {"places": self.places, "losses": self.losses}
