"""The samples of a data set as a Qt list model, fast with tens of thousands of rows."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QAbstractListModel, QModelIndex, QSortFilterProxyModel, Qt

from napari_fundus.datasets.base import Dataset, Sample
from napari_fundus.lesions import describe

_NO_FILTER = None


class SampleListModel(QAbstractListModel):
    """A row for each sample, made from the data set's lists without reading images."""

    def __init__(self, dataset: Dataset | None = None) -> None:
        super().__init__()
        self.samples: tuple[Sample, ...] = dataset.samples if dataset is not None else ()

    def set_dataset(self, dataset: Dataset) -> None:
        """Show the samples of another data set."""
        self.beginResetModel()
        self.samples = dataset.samples
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802
        """Return the number of samples; they have no children."""
        return 0 if parent is not None and parent.isValid() else len(self.samples)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return a sample's text or tooltip."""
        sample = self.samples[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            parts = [sample.id]
            if "dr" in sample.grades:
                parts.append(f"grade {sample.grades['dr']}")
            if sample.truths:
                parts.append(" ".join(sorted(sample.truths)))
            return "   ".join(parts)
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"{sample.image_path}\n{describe_annotation(sample)}"
        return None


class SampleFilter(QSortFilterProxyModel):
    """The samples of a split and a grade, with a lesion, whose id contains a text."""

    def __init__(self) -> None:
        super().__init__()
        self.split: str | None = _NO_FILTER
        self.grade: int | None = _NO_FILTER
        self.lesion: str | None = _NO_FILTER
        self.text = ""

    def set_filters(
        self,
        *,
        split: str | None = None,
        grade: int | None = None,
        lesion: str | None = None,
        text: str = "",
    ) -> None:
        """Set all conditions at once; None stands for any."""
        self.split, self.grade, self.lesion, self.text = split, grade, lesion, text.casefold()
        self.invalidate()

    def filterAcceptsRow(self, row: int, parent: QModelIndex) -> bool:  # noqa: N802
        """Return whether a sample meets all conditions."""
        sample = self.sourceModel().samples[row]
        return (
            (self.split is None or sample.split == self.split)
            and (self.grade is None or sample.grades.get("dr") == self.grade)
            and (self.lesion is None or self.lesion in sample.truths)
            and (not self.text or self.text in sample.id.casefold())
        )


def describe_annotation(sample: Sample) -> str:
    """Return which classes experts drew, looked for in vain, or did not annotate in a sample."""
    drawn = [describe(code).plural for code in sorted(sample.truths)]
    absent = [describe(code).plural for code in sorted(sample.annotated - set(sample.truths))]
    unknown = [
        describe(code).plural for code in ("MA", "HE", "EX", "SE") if code not in sample.annotated
    ]
    lines = []
    if drawn:
        lines.append(f"Drawn: {', '.join(drawn)}.")
    if absent:
        lines.append(f"Looked for, none found: {', '.join(absent)}.")
    if unknown:
        lines.append(f"Not annotated, so unknown: {', '.join(unknown)}.")
    return "\n".join(lines)
