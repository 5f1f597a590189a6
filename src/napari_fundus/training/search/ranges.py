"""The values of a setting that a search tries."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from napari_fundus.errors import OptionsError

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class SearchRange:
    """Values to choose from, or an interval.

    Attributes
    ----------
    choices
        Values to choose from; empty for an interval.
    low, high, log, integers_only
        Bounds of the interval, whether it is searched by orders of magnitude, and whether only
        whole numbers are drawn.

    Examples
    --------
    >>> SearchRange.parse("1e-4:1e-2:log")
    SearchRange(choices=(), low=0.0001, high=0.01, log=True, integers_only=False)
    >>> SearchRange.parse("8|16").choices
    (8, 16)
    """

    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    integers_only: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what ``LOW:HIGH``, ``LOW:HIGH:log`` or ``A|B|C`` says.

        Raises
        ------
        OptionsError
            It says nothing.
        """
        if "|" in text:
            return cls(choices=tuple(_value(part.strip()) for part in text.split("|")))
        low, colon, rest = text.partition(":")
        high, _, scale = rest.partition(":")
        try:
            bounds = float(low), float(high)
        except ValueError:
            bounds = math.nan, math.nan
        if not colon or scale not in ("", "log") or not bounds[0] < bounds[1]:
            raise OptionsError(
                f"{text!r} is no range: write LOW:HIGH, LOW:HIGH:log or A|B|C, as in "
                "learning_rate=1e-4:1e-2:log."
            )
        if scale and bounds[0] <= 0:
            raise OptionsError(f"{text!r}: a range by orders of magnitude starts above 0.")
        return cls((), *bounds, bool(scale), _is_whole(low) and _is_whole(high))

    def suggest_value(self, trial: optuna.Trial, name: str) -> Any:
        """Return the value of this setting in a trial."""
        if self.choices:
            # As text, since Optuna keeps choices only if they are numbers or strings.
            keys = [json.dumps(choice) for choice in self.choices]
            return json.loads(trial.suggest_categorical(name, keys))
        if self.integers_only:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _is_whole(text: str) -> bool:
    return text.strip().lstrip("+-").isdigit()
