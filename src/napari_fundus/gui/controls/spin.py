"""A spin box for any number, from 1e-6 to millions, that never rounds what it was given."""

# mypy: disable-error-code="misc"
from __future__ import annotations

import math

from qtpy.QtWidgets import QDoubleSpinBox, QWidget

__all__ = ["FloatSpinBox"]

_UNBOUNDED = 1e9


class FloatSpinBox(QDoubleSpinBox):
    """A spin box whose digits and step fit its bounds and its value.

    A value set from outside comes back exactly unless the user changes it: Qt alone would round it
    to the digits shown.

    Parameters
    ----------
    low, high
        Bounds; None for none.
    """

    def __init__(
        self, *, low: float | None = None, high: float | None = None, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._given = 0.0
        self._span = (high - low) if low is not None and high is not None else None
        self.setDecimals(3)
        self.setRange(-_UNBOUNDED if low is None else low, _UNBOUNDED if high is None else high)
        self.setKeyboardTracking(False)
        self.setStepType(
            QDoubleSpinBox.StepType.DefaultStepType
            if self._span is not None and self._span <= 10
            else QDoubleSpinBox.StepType.AdaptiveDecimalStepType
        )
        self.setSingleStep(self._span / 100 if self._span else 0.1)

    def set_exact(self, value: float) -> None:
        """Show `value` with as many digits as it needs."""
        self.setDecimals(_digits(value))
        self._given = value
        self.setValue(value)

    def exact(self) -> float:
        """Return the value that was set, or the one that the user has made of it."""
        unchanged = math.isclose(self.value(), self._given, abs_tol=0.5 * 10 ** -self.decimals())
        return self._given if unchanged else self.value()

    def textFromValue(self, value: float) -> str:  # noqa: N802
        """Leave out zeros that say nothing."""
        text = str(super().textFromValue(value))
        point = str(self.locale().decimalPoint())
        return text.rstrip("0").rstrip(point) if point in text else text


def _digits(value: float) -> int:
    """Return how many decimals show `value` in full, at least 3 and at most 12."""
    for digits in range(3, 13):
        if math.isclose(round(value, digits), value, rel_tol=1e-9, abs_tol=0):
            return digits
    return 12
