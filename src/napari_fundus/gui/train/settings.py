"""The form of all settings of a training; what it says is what is trained."""

# mypy: disable-error-code="misc"
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_fundus.checkpoints import ModelCard
from napari_fundus.detector import TrainingSpec
from napari_fundus.gui.controls.collapsible import collapsible_box
from napari_fundus.gui.controls.forms import ModelForm
from napari_fundus.training.loop.settings import TrainingSettings, split_settings

__all__ = ["SettingsForm"]

_BUDGET = ("max_minutes", "max_epochs")
_SEPARATE_CONTROLS = ("scheme",)
"""Settings with a control of their own."""

_GUI_DEFAULTS = {"preview_every": 1}
"""What a window has otherwise than the command line: a picture of each epoch."""


class _NoOptions(BaseModel):
    """Of methods that do not say what else their training may be told."""


class SettingsForm(QWidget):
    """Budget, and behind a fold the method's own settings and those that all trainings share.

    Parameters
    ----------
    form
        What the method's training may be told; None where it does not say.
    """

    changed = Signal()

    def __init__(self, form: TrainingSpec | None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._form = form or TrainingSpec(_NoOptions)
        self._fine_tuning = False
        self._default_options = self._form.options()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        start = {**self._form.defaults, **_GUI_DEFAULTS}
        rest = set(TrainingSettings.model_fields) - set(_BUDGET)
        self.budget = ModelForm(TrainingSettings, _only(start, _BUDGET), exclude=rest)
        layout.addWidget(self.budget.native)
        self.of_the_weights = QLabel()
        self.of_the_weights.setWordWrap(True)
        self.of_the_weights.setEnabled(False)
        self.options = ModelForm(self._form.options)
        here = {name: value for name, value in start.items() if name not in _BUDGET}
        self.shared = ModelForm(TrainingSettings, here, exclude=(*_BUDGET, *_SEPARATE_CONTROLS))
        self.box = collapsible_box(
            "All settings", self.of_the_weights, self.options.native, self.shared.native
        )
        layout.addWidget(self.box)
        self.set_checkpoint(None)
        for part in (self.budget, self.options, self.shared):
            part.changed.connect(lambda: self.changed.emit())

    def set_checkpoint(self, card: ModelCard | None) -> None:
        """Fit the form to the weights to start from, or to none."""
        fixed = self._form.of_the_weights
        self._fine_tuning = card is not None
        self.options.set_fields_visible(fixed, shown=card is None)
        titles = [self._form.options.model_fields[name].title or name for name in sorted(fixed)]
        self.of_the_weights.setText(
            f"As the weights have it: {', '.join(titles).lower()}." if titles else ""
        )
        self.of_the_weights.setVisible(card is not None and bool(titles))
        self._default_options = self._form.options()
        if card is not None:
            self._default_options = _with_card(
                self._default_options, self._form.defaults_from_checkpoint, card
            )
            self.options.set_values(
                {
                    name: getattr(self._default_options, name)
                    for name in self._form.defaults_from_checkpoint
                }
            )

    def settings(self, scheme: str = "full") -> dict[str, Any]:
        """Return the settings that differ from the method's defaults, fit for JSON.

        Parameters
        ----------
        scheme
            The fine-tuning scheme.

        Raises
        ------
        OptionsError
            A value does not fit.
        """
        self.budget.instance()
        self.shared.instance()
        own = self.options.instance()
        given = {**self.shared.values(), **self.budget.values(), "scheme": scheme}
        shared, _ = split_settings(given, _NoOptions)
        before = TrainingSettings.model_validate(dict(self._form.defaults))
        changes = _changes(before, shared)
        mine = _changes(self._default_options, own)
        if self._fine_tuning:
            mine = {n: v for n, v in mine.items() if n not in self._form.of_the_weights}
        return {**changes, **mine}

    def set_settings(self, settings: Mapping[str, Any]) -> None:
        """Show what a run was told: `settings` over the method's defaults.

        Raises
        ------
        OptionsError
            One of them is unknown or out of bounds.
        """
        shared, own = split_settings({**self._form.defaults, **settings}, self._form.options)
        values = {name: getattr(shared, name) for name in TrainingSettings.model_fields}
        self.budget.set_values(_only(values, _BUDGET))
        self.shared.set_values(_only(values, self.shared.editors))
        given = own.model_fields_set | (
            set(self._form.options.model_fields) - self._form.defaults_from_checkpoint
        )
        self.options.set_values({name: getattr(own, name) for name in given})


def _only(values: Mapping[str, Any], names: Any) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _changes(before: BaseModel, after: BaseModel) -> dict[str, Any]:
    """Return the fields of `after`, fit for JSON, that `before` has otherwise."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    return {name: value for name, value in new.items() if value != old[name]}


def _with_card(start: BaseModel, names: frozenset[str], card: ModelCard) -> BaseModel:
    """Return `start` with the fields that weights bring, as far as their card tells them."""
    known: dict[str, Any] = {}
    places = (card.architecture, card.recipe.get("preprocessing"), card.recipe.get("options"))
    for name in names:
        for place in places:
            if isinstance(place, dict) and name in place:
                known[name] = place[name]
                break
    try:
        return type(start).model_validate({**start.model_dump(), **known})
    except ValidationError:
        # A card of another version: the defaults are shown, and the weights' own are used.
        return start
