"""A spin box for any number, from 1e-300 to 1e300, that never rounds."""

from __future__ import annotations

import math
import sys

from qtpy.QtWidgets import QDoubleSpinBox

_ALL_DECIMALS = sys.float_info.max_10_exp + sys.float_info.dig
"""Qt's own maximum: with fewer decimals Qt rounds what is set or typed."""

_SHORTEST = -128
"""``QLocale.FloatingPointShortest``: as few digits as give the same float again."""


class NumberSpinBox(QDoubleSpinBox):
    """A spin box that keeps a float to the last bit and shows only the digits that it has.

    Parameters
    ----------
    low, high
        Bounds; None for none.
    step
        What an arrow adds. By default a hundredth of a range of at most 10; otherwise a tenth of
        the value's power of ten.
    whole
        Whether only whole numbers can be entered.
    """

    def __init__(
        self,
        low: float | None = None,
        high: float | None = None,
        *,
        step: float | None = None,
        whole: bool = False,
    ) -> None:
        super().__init__()
        limit = sys.float_info.max
        low, high = -limit if low is None else low, limit if high is None else high
        self.setDecimals(0 if whole else _ALL_DECIMALS)
        self.setRange(low, high)
        self.setSingleStep(step or ((high - low) / 100 if high - low <= 10 else 0))
        self.setKeyboardTracking(False)

    def textFromValue(self, value: float) -> str:  # noqa: N802
        """Return the shortest text that is read as the same float again."""
        locale = self.locale()
        return str(locale.toString(value, "f", _SHORTEST)).replace(locale.groupSeparator(), "")

    def stepBy(self, steps: int) -> None:  # noqa: N802
        """Add `steps` steps, without the noise of binary fractions."""
        value = self.value()
        step = self.singleStep() or 10.0 ** (math.floor(math.log10(abs(value) or 0.1)) - 1)
        digits = 12 - math.floor(math.log10(max(abs(value), step)))
        self.setValue(round(value + steps * step, digits))
