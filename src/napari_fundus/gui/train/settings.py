"""The form of all settings of a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_fundus.checkpoints import ModelCard
from napari_fundus.detector import TrainingSpec
from napari_fundus.gui.controls.collapsible import collapsible_box
from napari_fundus.gui.controls.forms import ModelForm
from napari_fundus.gui.controls.layouts import column_layout
from napari_fundus.gui.controls.message_label import MessageLabel
from napari_fundus.training.loop.settings import TrainingSettings, split_settings

_BUDGET = ("max_minutes", "max_epochs")
_SEPARATE_CONTROLS = ("scheme",)
"""Settings with a control of their own."""

_GUI_DEFAULTS = {"preview_every": 1}
"""Defaults that differ from the command line's: a preview after each epoch."""


class _NoOptions(BaseModel):
    """Options of a method that declares none for its training."""


class SettingsForm(QWidget):
    """A form of the budget, and in a collapsible box the method's own and the shared settings.

    Parameters
    ----------
    form
        The training's options and defaults; None if the method declares none.
    """

    changed = Signal()

    def __init__(self, form: TrainingSpec | None) -> None:
        super().__init__()
        self._form = form or TrainingSpec(_NoOptions)
        self._fine_tuning = False
        self._default_options = self._form.options()
        start = {**self._form.defaults, **_GUI_DEFAULTS}
        rest = set(TrainingSettings.model_fields) - set(_BUDGET)
        self.budget = ModelForm(TrainingSettings, _only(start, _BUDGET), exclude=rest)
        self.fixed_settings_label = MessageLabel()
        self.fixed_settings_label.setEnabled(False)
        self.options = ModelForm(self._form.options)
        here = {name: value for name, value in start.items() if name not in _BUDGET}
        self.shared = ModelForm(TrainingSettings, here, exclude=(*_BUDGET, *_SEPARATE_CONTROLS))
        self.box = collapsible_box(
            "All settings", self.fixed_settings_label, self.options.native, self.shared.native
        )
        column_layout(self, self.budget.native, self.box, spacing=6)
        self.set_checkpoint(None)
        for part in (self.budget, self.options, self.shared):
            part.changed.connect(lambda: self.changed.emit())

    def set_checkpoint(self, card: ModelCard | None) -> None:
        """Show the settings that apply to the weights to start from; None for no weights."""
        fixed = self._form.fixed_by_checkpoint
        self._fine_tuning = card is not None
        self.options.set_fields_visible(fixed, shown=card is None)
        titles = [self._form.options.model_fields[name].title or name for name in sorted(fixed)]
        text = f"As the weights have it: {', '.join(titles).lower()}."
        self.fixed_settings_label.setText(text if titles and card is not None else "")
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
        """Return the settings that differ from the method's defaults, as JSON values.

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
        common = {**self.shared.values(), **self.budget.values(), "scheme": scheme}
        shared, _ = split_settings(common, _NoOptions)
        before = TrainingSettings.model_validate(dict(self._form.defaults))
        changes = _changes(before, shared)
        mine = _changes(self._default_options, own)
        if self._fine_tuning:
            mine = {n: v for n, v in mine.items() if n not in self._form.fixed_by_checkpoint}
        return {**changes, **mine}

    def set_settings(self, settings: Mapping[str, Any]) -> None:
        """Show the settings of a run: `settings` over the method's defaults.

        Raises
        ------
        OptionsError
            One of them is unknown or out of bounds.
        """
        shared, own = split_settings({**self._form.defaults, **settings}, self._form.options)
        values = {name: getattr(shared, name) for name in TrainingSettings.model_fields}
        self.budget.set_values(_only(values, _BUDGET))
        self.shared.set_values(_only(values, self.shared.editors))
        names = own.model_fields_set | (
            set(self._form.options.model_fields) - self._form.defaults_from_checkpoint
        )
        self.options.set_values({name: getattr(own, name) for name in names})


def _only(values: Mapping[str, Any], names: Any) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _changes(before: BaseModel, after: BaseModel) -> dict[str, Any]:
    """Return the fields of `after` that differ from `before`, as JSON values."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    return {name: value for name, value in new.items() if value != old[name]}


def _with_card(start: BaseModel, names: frozenset[str], card: ModelCard) -> BaseModel:
    """Return `start` with the values of `names` that the weights' card contains."""
    found: dict[str, Any] = {}
    sections = (card.architecture, card.recipe.get("preprocessing"), card.recipe.get("options"))
    for name in names:
        for section in sections:
            if isinstance(section, dict) and name in section:
                found[name] = section[name]
                break
    try:
        return type(start).model_validate({**start.model_dump(), **found})
    except ValidationError:
        # A card of another version: the defaults are shown, and training uses the weights' own.
        return start
