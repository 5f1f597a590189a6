"""The photographs of an output folder with the state of each, to be looked at one by one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from pydantic import BaseModel

from napari_fundus._version import __version__
from napari_fundus.batch.config import BatchConfig, read_batch_config, write_batch_config
from napari_fundus.batch.items import SUMMARY_NAME, BatchItem, find_items
from napari_fundus.batch.records import (
    ImageOutcome,
    earlier_rows,
    read_record,
    source_stamp,
    write_summary,
)
from napari_fundus.errors import Cancelled, FundusError
from napari_fundus.export import check_formats, export, load_detections
from napari_fundus.image import FundusImage, read_image
from napari_fundus.results.detections import Detections
from napari_fundus.results.quantification import quantify
from napari_fundus.runtime.files import read_json, write_json
from napari_fundus.runtime.progress import Monitor

CORRECTED_FOLDER = "corrected"
"""Sub-folder of the output folder for results that a person changed."""

_MARKS_NAME = "worklist.json"
_WHOLE_RESULTS = ("zarr", "probability")
"""Formats that hold a whole result, so that thresholds can be moved again."""

Status = Literal["waiting", "done", "failed"]


@dataclass(frozen=True)
class WorklistEntry:
    """One photograph and what is known of it.

    Attributes
    ----------
    item
        The photograph, and where its results are in the output folder.
    status
        ``"waiting"`` (no complete result), ``"done"`` or ``"failed"``.
    counts
        Class code to number of lesions, of the corrected result where there is one.
    warnings
        What speaks against the result, such as that the picture may show no retina.
    message
        Why it failed.
    reviewed
        When a person marked it as reviewed, as ISO 8601 in UTC; empty if nobody has.
    corrected
        Whether a person changed its result.
    """

    item: BatchItem
    status: Status = "waiting"
    counts: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    message: str = ""
    reviewed: str = ""
    corrected: bool = False

    @property
    def path(self) -> Path:
        """The photograph's file."""
        return self.item.path


class _Marks(BaseModel):
    """What ``worklist.json`` holds by path: when it was reviewed, and what was taken out."""

    napari_fundus: str = __version__
    reviewed: dict[str, str] = {}
    removed: tuple[str, ...] = ()


class Worklist:
    """The photographs of one output folder, in the order of the list.

    A batch of the command line into the same folder is the same list: both write and read
    ``batch.json`` (sources, method, formats) and the results; a worklist adds ``worklist.json``
    (what was reviewed) and the folder ``corrected``.

    Parameters
    ----------
    output
        The folder; need not exist yet.

    Raises
    ------
    FundusError
        ``batch.json`` or ``worklist.json`` in it cannot be read.
    """

    def __init__(self, output: str | Path) -> None:
        self.output = Path(output).expanduser()
        self.config = read_batch_config(self.output) or BatchConfig(napari_fundus=__version__)
        self._marks = self._read_marks()
        self.entries: list[WorklistEntry] = []
        self._writing = Lock()

    def _read_marks(self) -> _Marks:
        path = self.output / _MARKS_NAME
        try:
            return _Marks.model_validate(read_json(path))
        except FileNotFoundError:
            return _Marks()
        except (ValueError, OSError) as error:
            raise FundusError(
                f"{path} does not say what was reviewed: {error}. Move it away, or choose another "
                "folder."
            ) from error

    def find_entries(self, sources: Iterable[str | Path]) -> list[WorklistEntry]:
        """Return the photographs of `sources` with their states; slow for many, for a thread.

        Parameters
        ----------
        sources
            Files, folders and data sets.
        """
        rows = earlier_rows(self.output / SUMMARY_NAME)
        removed = set(self._marks.removed)
        items = find_items(sources, self.output)
        return [self._entry(item, rows) for item in items if str(item.path) not in removed]

    def _entry(self, item: BatchItem, rows: Mapping[str, Mapping[str, str]]) -> WorklistEntry:
        entry = WorklistEntry(item, reviewed=self._marks.reviewed.get(str(item.path), ""))
        if item.error:
            return replace(entry, status="failed", message=item.error)
        record = read_record(self.output, item.output_stem)
        if record is not None and _same_file(item.path, record.source):
            complete = set(self.config.formats) <= set(record.formats)
            entry = replace(
                entry,
                status="done" if complete else "waiting",
                counts=record.counts,
                warnings=record.provenance.warnings,
            )
        elif (row := rows.get(str(item.path), {})).get("status") == "failed":
            return replace(entry, status="failed", message=row.get("message", ""))
        changed = read_record(self.output / CORRECTED_FOLDER, item.output_stem)
        if changed is not None and entry.status == "done":
            entry = replace(entry, counts=changed.counts, corrected=True)
        return entry

    def set_sources(self, sources: Sequence[str], entries: list[WorklistEntry]) -> None:
        """Take `entries`, those that :meth:`find_entries` returned for `sources`, and keep them."""
        self.entries = entries
        self._store_config(sources=tuple(dict.fromkeys(sources)))

    def remove(self, paths: Collection[Path]) -> None:
        """Take photographs out of the list; their files and results stay."""
        self.entries = [entry for entry in self.entries if entry.path not in paths]
        names = [str(path) for path in paths]
        sources = tuple(source for source in self.config.sources if source not in names)
        self._store_config(sources=sources)
        self._store_marks(removed=tuple(dict.fromkeys([*self._marks.removed, *names])))

    def add_again(self, sources: Collection[str]) -> None:
        """Let photographs that were taken out come back: they, or their folder, are added again."""
        folders = [Path(source) for source in sources]
        removed = tuple(
            name
            for name in self._marks.removed
            if not any(Path(name).is_relative_to(folder) for folder in folders)
        )
        if removed != self._marks.removed:
            self._store_marks(removed=removed)

    def set_job(self, detector: str, options: Mapping[str, Any], formats: Collection[str]) -> None:
        """Keep with which method the photographs are analysed, and what is written."""
        self._store_config(detector=detector, options=dict(options), formats=check_formats(formats))

    def _store_config(self, **changes: Any) -> None:
        config = self.config.model_copy(update=changes)
        if config != self.config:
            self.config = config
            write_batch_config(self.output, config)

    def row(self, path: Path) -> int:
        """Return the number of a photograph in the list, from 0; -1 if it is not there."""
        return next((i for i, one in enumerate(self.entries) if one.path == path), -1)

    def apply_outcome(self, outcome: ImageOutcome) -> int:
        """Take what became of one photograph; return its number in the list."""
        row = self.row(outcome.path)
        if row >= 0:
            old = self.entries[row]
            failed = outcome.status == "failed"
            self.entries[row] = replace(
                old,
                status="failed" if failed else "done",
                message=outcome.message,
                warnings=outcome.warnings,
                counts=old.counts if old.corrected else dict(outcome.counts),
            )
        return row

    def set_reviewed(self, row: int, *, reviewed: bool) -> None:
        """Mark a photograph as reviewed, or as not reviewed; written at once."""
        entry = self.entries[row]
        when = datetime.now(UTC).isoformat(timespec="seconds") if reviewed else ""
        self.entries[row] = replace(entry, reviewed=when)
        marks = {k: v for k, v in self._marks.reviewed.items() if k != str(entry.path)}
        self._store_marks(reviewed=marks | ({str(entry.path): when} if reviewed else {}))

    def _store_marks(self, **changes: Any) -> None:
        self._marks = self._marks.model_copy(update=changes)
        self.output.mkdir(parents=True, exist_ok=True)
        write_json(self.output / _MARKS_NAME, self._marks.model_dump(), overwrite=True)

    def next_unreviewed(self, row: int) -> int:
        """Return the next photograph with a result that nobody reviewed, after `row`; -1 if none.

        After the last photograph the search goes on with the first.
        """
        count = len(self.entries)
        for step in range(1, count + 1):
            entry = self.entries[(row + step) % count]
            if entry.status == "done" and not entry.reviewed:
                return (row + step) % count
        return -1

    def load(self, row: int) -> tuple[FundusImage, Detections | None]:
        """Read a photograph and its result; None where there is none. For a thread.

        Raises
        ------
        FundusError
            A file cannot be read, or the result is of other pixels than the photograph has now.
        """
        entry = self.entries[row]
        image = read_image(entry.path)
        with self._writing:  # a correction of it may be on its way to the disk
            folder = self.output / CORRECTED_FOLDER if self.entries[row].corrected else self.output
            try:
                found = load_detections(folder / entry.item.output_stem)
            except FileNotFoundError:
                return image, None
        if found.provenance.image_sha256 != image.sha256:
            raise FundusError(
                f"The result in {folder / entry.item.output_stem} is of another image than "
                f"{entry.path}, or of this one before it was changed. Detect lesions in it again."
            )
        return image, found

    def save_correction(self, row: int, corrected: Detections, image: FundusImage) -> None:
        """Write a result that a person changed beside the one that was found. For a thread.

        What the batch has written stays as it is.
        """
        item, counts = self.entries[row].item, lesion_counts(corrected)
        formats = _with_whole_result(self.config.formats)
        with self._writing:
            export(
                corrected,
                self.output / CORRECTED_FOLDER / item.output_stem.parent,
                item.output_stem.name,
                formats=formats,
                image=image,
                more={
                    "request": self.config.model_dump(
                        include={"detector", "options", "thresholds"}
                    ),
                    "source": source_stamp(item.path),
                    "formats": formats,
                    "counts": counts,
                },
                overwrite=True,
            )
            # The list may have changed meanwhile.
            if (row := self.row(item.path)) >= 0:
                self.entries[row] = replace(self.entries[row], corrected=True, counts=counts)

    def export_all(
        self, folder: str | Path, formats: Collection[str], *, monitor: Monitor | None = None
    ) -> tuple[list[ImageOutcome], list[str]]:
        """Write all results, the corrected ones where there are any, with a table of all images.

        Parameters
        ----------
        folder
            Where to; results that are there already are not replaced.
        formats
            Names out of `napari_fundus.export.FORMATS`.
        monitor
            Takes the progress, and may cancel.

        Returns
        -------
        outcomes, without_result
            What became of each photograph with a result, and the names of those without.
        """
        folder = Path(folder)
        names = check_formats(formats)
        monitor = monitor or Monitor()
        outcomes: list[ImageOutcome] = []
        left: list[str] = []
        for row, entry in enumerate(self.entries):
            monitor.step(row / len(self.entries), f"{row + 1} of {len(self.entries)}")
            if entry.status != "done":
                left.append(entry.path.name)
                continue
            outcomes.append(self._export(row, folder, names))
        codes = dict.fromkeys(code for one in outcomes for code in one.counts)
        write_summary(folder / SUMMARY_NAME, outcomes, codes)
        return outcomes, left

    def _export(self, row: int, folder: Path, formats: tuple[str, ...]) -> ImageOutcome:
        item = self.entries[row].item
        try:
            image, found = self.load(row)
            if found is None:
                raise FundusError(
                    "Only parts of its result were written. Choose the format zarr or probability "
                    "and detect again."
                )
            export(
                found,
                folder / item.output_stem.parent,
                item.output_stem.name,
                formats=formats,
                image=image,
                more={"reviewed": self.entries[row].reviewed},
            )
        except Cancelled:
            raise
        except (FundusError, OSError) as error:
            return ImageOutcome(item.path, item.output_stem, "failed", message=str(error))
        extent = quantify(found).record()
        return ImageOutcome(
            item.path,
            item.output_stem,
            "written",
            counts=lesion_counts(found),
            extent=extent,
            scores=dict(found.image_score),
            warnings=found.provenance.warnings,
        )


def lesion_counts(detections: Detections) -> dict[str, int]:
    """Return the number of lesions of each class."""
    found = detections.instances["lesion"].value_counts()
    return {str(code): int(found.get(code, 0)) for code in detections.lesions}


def whole_result_format() -> str:
    """Return the format in which a worklist keeps whole results: zarr where it is installed."""
    try:
        return check_formats(["zarr"])[0]
    except FundusError:
        return "probability"


def _with_whole_result(formats: Collection[str]) -> tuple[str, ...]:
    whole = set(formats) & set(_WHOLE_RESULTS) or {whole_result_format()}
    return check_formats({*formats, *whole})


def _same_file(path: Path, stamp: Mapping[str, int]) -> bool:
    try:
        return source_stamp(path) == stamp
    except OSError:
        return False
