"""The photographs of a worklist as a Qt table that sorts and filters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSortFilterProxyModel, Qt

from napari_fundus.batch.worklist import WorklistEntry
from napari_fundus.lesions import describe

_STATES = {"waiting": "to do", "done": "found", "failed": "failed"}
SORT_ROLE = Qt.ItemDataRole.UserRole

FILTERS: dict[str, Callable[[WorklistEntry], bool]] = {
    "All photographs": lambda _: True,
    "To do": lambda entry: entry.status == "waiting",
    "Found": lambda entry: entry.status == "done",
    "Failed": lambda entry: entry.status == "failed",
    "With warnings": lambda entry: bool(entry.warnings),
    "Not reviewed": lambda entry: entry.status == "done" and not entry.reviewed,
    "Reviewed": lambda entry: bool(entry.reviewed),
    "Corrected": lambda entry: entry.corrected,
}
"""Title of a filter to whether it shows an entry."""


class WorklistModel(QAbstractTableModel):
    """A row for each photograph: name, state, number of lesions a class, and a note."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: Sequence[WorklistEntry] = ()
        self._codes: tuple[str, ...] = ()
        self._running = -1

    def set_entries(self, entries: Sequence[WorklistEntry]) -> None:
        """Show other photographs; the sequence is looked at, not copied."""
        self.beginResetModel()
        self.entries = entries
        self._codes = self._classes()
        self.endResetModel()

    def _classes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(code for entry in self.entries for code in entry.counts))

    def set_running(self, row: int) -> None:
        """Show which photograph is being analysed; -1 for none."""
        before, self._running = self._running, row
        for changed in {before, row} - {-1}:
            self.update_row(changed)

    def update_row(self, row: int) -> None:
        """Show that an entry changed."""
        if self._classes() != self._codes:
            self.beginResetModel()
            self._codes = self._classes()
            self.endResetModel()
        elif 0 <= row < len(self.entries):
            self.dataChanged.emit(self.index(row, 0), self.index(row, self.columnCount() - 1))

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802
        """Return the number of photographs."""
        return 0 if parent is not None and parent.isValid() else len(self.entries)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(self._titles())

    def _titles(self) -> tuple[str, ...]:
        return "Photograph", "State", *self._codes, "Note"

    def headerData(  # noqa: N802
        self,
        section: int,
        orientation: Qt.Orientation,
        role: int = Qt.ItemDataRole.DisplayRole,
    ) -> Any:
        """Return a column's title, and the name of its class as a tooltip."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        title = self._titles()[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return title
        if role == Qt.ItemDataRole.ToolTipRole and title in self._codes:
            return describe(title).plural
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return a cell's text, tooltip, alignment, or value to sort by."""
        entry = self.entries[index.row()]
        title = self._titles()[index.column()]
        if role == Qt.ItemDataRole.ToolTipRole:
            return "\n".join(filter(None, (str(entry.path), entry.message, *entry.warnings)))
        if title in self._codes:
            if role == Qt.ItemDataRole.TextAlignmentRole:
                return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            count = entry.counts.get(title)
            texts = {
                Qt.ItemDataRole.DisplayRole: "" if count is None else f"{count:,}",
                SORT_ROLE: -1 if count is None else count,
            }
            return texts.get(role)
        if role not in (Qt.ItemDataRole.DisplayRole, SORT_ROLE):
            return None
        texts = {
            "Photograph": entry.path.name,
            "State": "analysing…" if index.row() == self._running else _state(entry),
            "Note": _note(entry),
        }
        return texts[title]


def _state(entry: WorklistEntry) -> str:
    return "reviewed" if entry.reviewed else _STATES[entry.status]


def _note(entry: WorklistEntry) -> str:
    words = (
        entry.message,
        *entry.warnings,
        "corrected" if entry.corrected else "",
        f"reviewed on {entry.reviewed[:10]}" if entry.reviewed else "",
    )
    return ", ".join(filter(None, words))


class WorklistFilter(QSortFilterProxyModel):
    """The photographs of a state whose path contains a text, sorted by any column."""

    def __init__(self, source: WorklistModel) -> None:
        super().__init__()
        self._state, self._text = next(iter(FILTERS)), ""
        self.setSourceModel(source)
        self.setSortRole(SORT_ROLE)
        self.setSortCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)

    def set_filters(self, state: str, text: str) -> None:
        """Show the photographs of a key of `FILTERS` whose path contains `text`."""
        self._state, self._text = state, text.casefold()
        self.invalidate()

    def filterAcceptsRow(self, row: int, parent: QModelIndex) -> bool:  # noqa: N802
        """Return whether a photograph meets both conditions."""
        entry = self.sourceModel().entries[row]
        return bool(FILTERS[self._state](entry)) and self._text in str(entry.path).casefold()
