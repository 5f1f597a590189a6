"""A result as it now stands: its sliders wherever they are moved, and what was drawn by hand."""

# mypy: disable-error-code="misc"
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from qtpy.QtCore import QObject, Signal

from napari_fundus.gui.detect.results import ResultsPanel, find_results_panel
from napari_fundus.gui.evaluate.layer_groups import LayerGroup
from napari_fundus.metrics.lesion_matching import ClassMatch, TrueLesions, match_with_truth
from napari_fundus.results.detections import Detections
from napari_fundus.results.layer_metadata import as_array
from napari_fundus.results.relabel import Components, class_components, labelled_components

if TYPE_CHECKING:
    from napari.components import ViewerModel

__all__ = ["ClassSnapshot", "ResultObserver", "match_all"]


@dataclass(frozen=True, eq=False)
class ClassSnapshot:
    """What a thread needs to know of one class; arrays that may change are copies.

    Attributes
    ----------
    components
        Those at its threshold, where they are known already.
    run, threshold
        What they are made of otherwise.
    drawn
        Labels that count instead: a person changed them, or there is no map.
    min_area
        Least area, px.
    """

    components: Components | None
    run: Detections | None
    threshold: float
    drawn: npt.NDArray[Any] | None
    min_area: int

    def lesions(
        self, code: str
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], pd.DataFrame]:
        """Return pixels, their ids and the table of lesions; for a thread."""
        found = self.components
        if self.drawn is not None:
            found = labelled_components(
                (self.drawn > 0).astype(np.float32), lesion=code, threshold=0.5
            )
            ids, table = found.at_least(1)
            return found.pixels, ids, table
        if found is None:
            assert self.run is not None  # noqa: S101  # one of the three is given
            found = class_components(self.run, code, threshold=self.threshold)
        ids, table = found.at_least(self.min_area, threshold=self.threshold)
        return found.pixels, ids, table


class ResultObserver(QObject):
    """Follows one result of the viewer.

    Its sliders are those of the results panel that shows it. Where none does, as for a result that
    a script added, a panel of one's own is kept, out of sight: thresholds have one home.

    Parameters
    ----------
    viewer
        The viewer.
    choice
        The result.
    """

    changed = Signal()
    """A threshold, the least area or labels changed."""

    def __init__(
        self, viewer: ViewerModel, choice: LayerGroup, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.choice = choice
        detections = choice.detections
        panel = find_results_panel(choice.layers)
        self._own: ResultsPanel | None = None
        if panel is None and detections is not None:
            panel = self._own = ResultsPanel(viewer, detections, choice.layers, quiet=True)
            panel.hide()
        self._panel = panel
        self._detections = detections
        if panel is not None:
            panel.updated.connect(self.changed)
        for layer in choice.labels.values():
            layer.events.paint.connect(self._on_painted)

    def forget(self) -> None:
        """Stop following."""
        for layer in self.choice.labels.values():
            layer.events.paint.disconnect(self._on_painted)
        if self._panel is not None:
            self._panel.updated.disconnect(self.changed)
        if self._own is not None:
            self._own.forget()
            self._own.deleteLater()
        self._own = self._panel = None

    def _on_painted(self, event: Any = None) -> None:
        self.changed.emit()

    @property
    def busy(self) -> bool:
        """Whether the panel still answers a slider."""
        return self._panel is not None and self._panel.busy

    @property
    def run(self) -> Detections | None:
        """The result as its detector gave it; None where no maps are kept."""
        return self._detections

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Class code to where its slider stands; empty without maps."""
        return {} if self._panel is None else self._panel.settings.thresholds

    @property
    def min_area(self) -> int:
        """Least area of a lesion, px."""
        return 1 if self._panel is None else self._panel.settings.min_area

    def has_threshold(self, code: str) -> bool:
        """Tell whether a class has a threshold that may be moved."""
        # A class that a reviewer added has labels and no map.
        return self._panel is not None and code in self.thresholds.keys() - self._panel.edited

    def set_threshold(self, code: str, value: float) -> None:
        """Move the threshold of a class, wherever it is shown."""
        if self.has_threshold(code) and self._panel is not None:
            self._panel.set_slider(code, value)

    def standing(self, codes: Iterable[str]) -> dict[str, ClassSnapshot]:
        """Take what a thread needs; quick, for the main thread."""
        result: dict[str, ClassSnapshot] = {}
        shown = {} if self._panel is None else self._panel.shown
        for code in codes:
            found, run, threshold = None, None, 0.5
            drawn = None
            if self.has_threshold(code) and self._detections is not None:
                threshold = self.thresholds[code]
                run = self._detections
                known = shown.get(code)
                if known is not None and known.threshold == threshold:
                    found = known.components
            else:
                drawn = np.array(as_array(self.choice.labels[code].data))
            result[code] = ClassSnapshot(found, run, threshold, drawn, self.min_area)
        return result


def match_all(
    standing: Mapping[str, ClassSnapshot], truths: Mapping[str, TrueLesions]
) -> dict[str, ClassMatch]:
    """Compare all classes with the truth; for a thread."""
    return {
        code: match_with_truth(truths[code], *now.lesions(code)) for code, now in standing.items()
    }
