"""The widget *Preprocess*: edits a recipe and shows its result exactly over the photograph."""

from __future__ import annotations

import pprint
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import show_info
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QPushButton,
    QWidget,
)

from napari_fundus.errors import FundusError
from napari_fundus.gui.controls.collapsible import collapsible_box
from napari_fundus.gui.controls.forms import ModelForm
from napari_fundus.gui.controls.layer_choice import LayerChoice
from napari_fundus.gui.controls.layouts import form_layout, scrollable_layout
from napari_fundus.gui.controls.message_label import MessageLabel
from napari_fundus.gui.controls.preferences import sync_preferences
from napari_fundus.gui.controls.run_bar import RunBar
from napari_fundus.gui.controls.thread_job import show_error
from napari_fundus.gui.layers.add_in_steps import add_layer_in_steps
from napari_fundus.gui.layers.build import LayerTuple, make_layer
from napari_fundus.gui.layers.event_loop import StepRunner
from napari_fundus.gui.layers.napari_compat import on_widget_removed, unwrap_viewer
from napari_fundus.gui.layers.placement import ImageSource, image_source, transformed_placement
from napari_fundus.image import FundusImage
from napari_fundus.preprocessing import PreprocessedImage, Recipe, preset_descriptions
from napari_fundus.results.layer_metadata import METADATA_KEY, LayerMetadata
from napari_fundus.runtime.progress import Monitor

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

_DEFAULT_RECIPE = "local_mean"

_FIELD_CONDITIONS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "side": lambda values: values["resize"] == "side",
    "disc_diameter": lambda values: values["resize"] == "disc",
    "clahe_clip": lambda values: values["clahe"],
    **dict.fromkeys(("alpha", "beta", "gamma", "sigma"), lambda values: values["enhance"]),
}
"""When a field has an effect, by the values of the others; otherwise it is disabled."""


class PreprocessWidget(QWidget):
    """A form of a recipe that is applied to an image layer; the result is shown over it.

    Parameters
    ----------
    viewer
        The napari viewer.
    """

    shown = Signal(object)
    """Emitted with the new layers when they are in the viewer."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        sync_preferences()
        viewer = self._viewer = unwrap_viewer(viewer)
        self._last: tuple[PreprocessedImage, FundusImage, str] | None = None
        self._build()
        self.choose(_DEFAULT_RECIPE)
        on_widget_removed(self, self.shutdown)

    def _build(self) -> None:
        layout = scrollable_layout(self)

        self.layer_choice = LayerChoice(self._viewer)
        self.recipe_choice = QComboBox()
        self._texts = preset_descriptions()
        for name, text in self._texts.items():
            self.recipe_choice.addItem(name, name)
            last = self.recipe_choice.count() - 1
            self.recipe_choice.setItemData(last, text, Qt.ItemDataRole.ToolTipRole)
        self.recipe_choice.currentIndexChanged.connect(lambda _: self._show_recipe())
        layout.addLayout(
            form_layout(("Image", self.layer_choice.native), ("Recipe", self.recipe_choice))
        )
        self.about = MessageLabel()
        layout.addWidget(self.about)
        self.form = ModelForm(Recipe)
        self.form.changed.connect(self._form_changed)
        steps = collapsible_box("Steps", self.form.native)
        steps.expand(animate=False)
        layout.addWidget(steps)
        self.field_of_view_box = QCheckBox("Show the field of view as labels")
        layout.addWidget(self.field_of_view_box)
        self._step_runner = StepRunner(self)
        self.run_bar = RunBar("Preprocess")
        self.run_bar.run_clicked.connect(self.run)
        self.run_bar.returned.connect(self._finish)
        layout.addWidget(self.run_bar)
        self.copy_button = QPushButton("Copy as Python")
        self.copy_button.setToolTip("Copy a script that prepares this image in this way")
        self.copy_button.setEnabled(False)
        self.copy_button.clicked.connect(lambda _=False: self.copy_python())
        layout.addWidget(self.copy_button)
        layout.addStretch(1)

    def choose(self, recipe: str) -> None:
        """Choose a recipe by name and show its steps."""
        index = self.recipe_choice.findData(recipe)
        if index == self.recipe_choice.currentIndex():
            self._show_recipe()
        self.recipe_choice.setCurrentIndex(index)

    def _show_recipe(self) -> None:
        name = self.recipe_choice.currentData()
        self.about.setText(f"<small>{self._texts[name]}</small>")
        with self.form.changed.blocked():
            self.form.set_values(Recipe.preset(name).model_dump())
        self._enable_fields()

    def _form_changed(self) -> None:
        self._enable_fields()
        name = self.recipe_choice.currentData()
        changed = self.form.values() != Recipe.preset(name).model_dump()
        text = self._texts[name]
        self.about.setText(f"<small>{text}{' <b>Changed.</b>' if changed else ''}</small>")

    def _enable_fields(self) -> None:
        values = self.form.values()
        for name, has_effect in _FIELD_CONDITIONS.items():
            self.form.editors[name].enabled = has_effect(values)

    def run(self) -> None:
        """Apply the recipe to the chosen layer."""
        layer = self.layer_choice.layer()
        if layer is None or self.run_bar.running:
            self.run_bar.show_message("Open a fundus photograph first.")
            return
        try:
            recipe = self.form.instance()
            source = image_source(layer, self._viewer.dims.point)
        except FundusError as error:
            self.run_bar.show_message(str(error))
            show_error(error)
            return
        preset = self.recipe_choice.currentData()
        title = preset if recipe == Recipe.preset(preset) else f"{preset}, changed"
        with_field = self.field_of_view_box.isChecked()

        def work(
            monitor: Monitor,
        ) -> tuple[PreprocessedImage, FundusImage, list[LayerTuple], ImageSource]:
            monitor.step(0.0, "reading the image")
            image = source.load()
            prepared = recipe.apply(image, monitor.part(0.1, 1.0))
            layers = preprocessed_layers(
                prepared, source=source, title=title, with_field_of_view=with_field
            )
            return prepared, image, layers, source

        self.run_bar.start(work)

    def _finish(
        self, result: tuple[PreprocessedImage, FundusImage, list[LayerTuple], ImageSource]
    ) -> None:
        prepared, image, tuples, source = result
        if source.layer not in self._viewer.layers:
            show_info(f"{source.name!r} was removed meanwhile; the result is shown at its place.")
        added: list[Layer] = []

        def steps() -> Iterator[None]:
            for one in tuples:
                added.append(make_layer(one))
                yield
                yield from add_layer_in_steps(self._viewer, added[-1])

        def finish() -> None:
            active, layers = self._viewer.layers.selection.active, self._viewer.layers
            if (active is None or active is source.layer) and added[-1] in layers:
                layers.selection.active = added[-1]
            self._last = prepared, image, source.expression
            self.copy_button.setEnabled(True)
            height, width = prepared.field_of_view.shape
            self.run_bar.show_message(f"Prepared: {width} × {height} px.")
            self.shown.emit(added)

        self._step_runner.start(steps(), finish)

    def copy_python(self) -> None:
        """Copy a script that does the same to the clipboard."""
        if self._last is None:
            return
        clipboard = QApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(recipe_script(*self._last))
            show_info("Copied as Python.")

    def shutdown(self) -> None:
        """Cancel the job and disconnect; called when the widget is closed."""
        self.run_bar.cancel_silently()
        self._step_runner.stop()
        self.layer_choice.disconnect_viewer()


def preprocessed_layers(
    prepared: PreprocessedImage,
    *,
    source: ImageSource,
    title: str,
    with_field_of_view: bool = False,
) -> list[LayerTuple]:
    """Return a preprocessed photograph as layers placed exactly over the original.

    Parameters
    ----------
    prepared
        The result of a recipe.
    source
        The original layer's name and placement.
    title
        Name of the recipe.
    with_field_of_view
        Whether to add the field of view as labels.
    """
    scale = 1 / np.asarray(prepared.geometry.scale)
    (offset,) = prepared.geometry.inverse_points([[0.0, 0.0]])
    placed = transformed_placement(source.placement, scale.tolist(), offset.tolist())
    metadata = LayerMetadata(
        kind="prepared",
        extra={
            "recipe": prepared.recipe.model_dump(mode="json"),
            "geometry": prepared.geometry.model_dump(mode="json"),
            "source_name": source.name,
        },
    )
    pixels = prepared.pixels
    meta: dict[str, Any] = {
        "name": f"{source.name}: {title}",
        "rgb": pixels.ndim == 3 and not prepared.recipe.standardize,
        "metadata": {METADATA_KEY: metadata},
        **placed,
    }
    if prepared.recipe.standardize:
        # Standardized values have no place in an RGB picture: ±3 deviations are shown as 0 to 1.
        pixels = np.clip(pixels / 6 + 0.5, 0, 1) * prepared.field_of_view.reshape(
            *prepared.field_of_view.shape, *[1] * (pixels.ndim - 2)
        )
        meta |= {"rgb": pixels.ndim == 3, "name": f"{source.name}: {title} (±3 deviations)"}
    layers: list[LayerTuple] = [(pixels, meta, "image")]
    if with_field_of_view:
        layers.append(
            (
                prepared.field_of_view.astype(np.uint8),
                {
                    "name": f"{source.name}: field of view",
                    "opacity": 0.3,
                    "metadata": {METADATA_KEY: replace(metadata, kind="field_of_view")},
                    **placed,
                },
                "labels",
            )
        )
    return layers


def recipe_script(prepared: PreprocessedImage, image: FundusImage, source: str) -> str:
    """Return a script that applies the same recipe to the image.

    Parameters
    ----------
    prepared
        The result of a recipe.
    image
        The photograph.
    source
        Python expression of the layer in napari's console, for an image without a file.
    """
    lines = ["import napari_fundus as nf", "from napari_fundus.preprocessing import Recipe", ""]
    if image.path is None:
        lines.insert(0, "# The layer has no file: run this in napari's console.")
        lines.insert(2, "from napari_fundus.api import as_image")
        lines.append(f"image = as_image({source})")
    else:
        lines.append(f"image = nf.read_image({str(image.path)!r})")
    fields = prepared.recipe.model_dump(exclude_defaults=True)
    shown = pprint.pformat(fields, width=84, sort_dicts=False)
    lines += [f"recipe = Recipe(**{shown})", "prepared = recipe.apply(image)"]
    return "\n".join([*lines, "print(prepared.pixels.shape)"]) + "\n"
