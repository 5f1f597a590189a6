"""What a batch remembers of each image, so that a run can be taken up again, and the summary."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from napari_fundus.errors import OutputExistsError
from napari_fundus.export import FORMATS, PROVENANCE_SUFFIX
from napari_fundus.runtime.files import atomic_write, check_is_file, read_json
from napari_fundus.runtime.locks import lock_file
from napari_fundus.runtime.text import escape_surrogates

_FIRST_COLUMNS = ("path", "status", "place")
_LAST_COLUMNS = ("seconds", "message")
_WARNINGS = "warnings"
_FIELD = "field_of_view"
_SCORE = "score"


@dataclass(frozen=True)
class ImageOutcome:
    """What became of one image.

    Attributes
    ----------
    path, output_stem
        The image's file, and where its results are in the output folder (without suffix).
    status
        ``"written"``, ``"skipped"`` (was done before) or ``"failed"``.
    counts
        Number of lesions a class.
    seconds
        Time spent on it.
    message
        Why it failed, in one line.
    traceback
        The traceback of the failure, for those who debug.
    extent
        Areas and landmarks, as `napari_fundus.results.quantification.Quantification.record` gives
        them.
    scores
        Scores of the whole image, of classifiers.
    warnings
        What a person should know before trusting the result.
    retryable
        Whether a failure may be one of the moment: of disk, network, memory or the detector, not
        of the image.
    """

    path: Path
    output_stem: Path
    status: Literal["written", "skipped", "failed"]
    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    message: str = ""
    traceback: str = ""
    extent: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    retryable: bool = False


@dataclass(frozen=True)
class BatchReport:
    """What became of all images.

    Attributes
    ----------
    outcomes
        One an image, in the order they were worked on.
    output
        The folder written to; its ``summary.csv`` holds the same.
    interrupted
        Whether the run was stopped before its end.
    passed_over
        What the folders hold beside the images: suffix, or another word for its kind, to number.
    """

    outcomes: tuple[ImageOutcome, ...]
    output: Path
    interrupted: bool = False
    passed_over: Mapping[str, int] = field(default_factory=dict)

    def _with(self, status: str) -> list[ImageOutcome]:
        return [outcome for outcome in self.outcomes if outcome.status == status]

    @property
    def written(self) -> list[ImageOutcome]:
        """Images whose results were written in this run."""
        return self._with("written")

    @property
    def skipped(self) -> list[ImageOutcome]:
        """Images that were done before."""
        return self._with("skipped")

    @property
    def failed(self) -> list[ImageOutcome]:
        """Images without result, and the reason."""
        return self._with("failed")


class _ProvenanceHashes(BaseModel):
    image_sha256: str
    checkpoint_sha256: str | None
    warnings: tuple[str, ...] = ()


class _Extent(BaseModel):
    model_config = ConfigDict(extra="allow")

    classes: dict[str, dict[str, Any]] = {}
    landmarks: dict[str, dict[str, Any]] = {}


class ProvenanceRecord(BaseModel):
    """The part of a finished image's provenance file that a batch reads; other entries are ignored.

    Attributes
    ----------
    request
        Detector, its version, options and thresholds that were requested.
    source
        Size and time of the image's file.
    formats
        Formats written whose files exist.
    counts, extent, image_score
        As `counts`, `extent` and `scores` of `ImageOutcome`; files of earlier versions have only
        the first.
    provenance
        Hashes of the image's pixels and of the weights used.
    """

    request: dict[str, Any]
    source: dict[str, int]
    formats: tuple[str, ...]
    counts: dict[str, int]
    provenance: _ProvenanceHashes
    extent: _Extent = _Extent()
    image_score: dict[str, float] = {}

    def skipped(self, path: Path, output_stem: Path) -> ImageOutcome:
        """Return the outcome of an image whose results exist already."""
        extent = self.extent.model_dump(exclude_unset=True)
        return ImageOutcome(
            path,
            output_stem,
            "skipped",
            self.counts,
            extent=extent,
            scores=self.image_score,
            warnings=self.provenance.warnings,
        )


def source_stamp(path: Path) -> dict[str, int]:
    """Return size in bytes and time of change in nanoseconds: enough to see that a file changed."""
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def read_record(output: Path, output_stem: Path) -> ProvenanceRecord | None:
    """Return what is remembered of an image; None if it was never finished by a batch."""
    path = output / output_stem.parent / f"{output_stem.name}{PROVENANCE_SUFFIX}"
    try:
        record = ProvenanceRecord.model_validate(read_json(path))
    except (FileNotFoundError, ValueError):
        return None
    record.formats = tuple(
        name
        for name in record.formats
        if name in FORMATS and path.with_name(f"{output_stem.name}{FORMATS[name].suffix}").exists()
    )
    return record


def check_summary(path: Path, *, overwrite: bool) -> None:
    """Raise `OutputExistsError` if a table that is not ours has the name of the summary."""
    if overwrite or not path.exists():
        return
    check_is_file(path)
    with path.open(encoding="utf-8", errors="replace") as file:
        if not file.readline().startswith(",".join(_FIRST_COLUMNS)):
            raise OutputExistsError(
                f"{path} exists already, and was not written by a batch. Choose another folder."
            )


def write_summary(path: Path, outcomes: Sequence[ImageOutcome], lesions: Iterable[str]) -> None:
    """Write the table of all images, one row each.

    Images of earlier runs into the same folder keep their rows: the table covers the whole
    folder, also after a run that was stopped or that concerned a few images.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Another run into the folder must not lose these rows, nor this one its.
    with lock_file(path.with_name(f".{path.name}.lock")):
        _merge_rows(path, outcomes, tuple(lesions))


def _merge_rows(path: Path, outcomes: Sequence[ImageOutcome], lesions: Sequence[str]) -> None:
    rows = earlier_rows(path)
    for outcome in outcomes:
        row = {
            escape_surrogates(k): escape_surrogates(v) for k, v in _row(outcome, lesions).items()
        }
        rows[row["path"]] = row
    ends = {*_FIRST_COLUMNS, _WARNINGS, *_LAST_COLUMNS}
    between = dict.fromkeys(name for row in rows.values() for name in row if name not in ends)
    columns = [*_FIRST_COLUMNS, *_order_columns(between, lesions), _WARNINGS, *_LAST_COLUMNS]
    with (
        atomic_write(path, overwrite=True) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        table = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows.values())


def earlier_rows(path: Path) -> dict[str, dict[str, str]]:
    """Return the rows of a ``summary.csv`` by the image's path; none if it is not ours.

    A row that ends before its last column is left out: nobody's batch has written it.
    """
    if not path.exists():
        return {}
    check_is_file(path)
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        table = csv.DictReader(file)
        try:
            if not {*_FIRST_COLUMNS, *_LAST_COLUMNS} <= set(table.fieldnames or ()):
                return {}
            whole = (row for row in table if None not in row.values())
            return {row["path"]: {k: v for k, v in row.items() if k} for row in whole}
        except csv.Error:
            return {}  # no batch has written this


def _row(outcome: ImageOutcome, lesions: Sequence[str]) -> dict[str, str]:
    done = outcome.status != "failed"
    counts = {**dict.fromkeys(lesions, 0), **outcome.counts} if done else {}
    return {
        "path": str(outcome.path),
        "status": outcome.status,
        "place": outcome.output_stem.as_posix() if done else "",
        **{code: str(count) for code, count in counts.items()},
        **({f"{_SCORE}_{n}": f"{v:.6g}" for n, v in outcome.scores.items()} if done else {}),
        **(_extent_columns(outcome.extent) if done else {}),
        _WARNINGS: " ".join(outcome.warnings),
        "seconds": f"{outcome.seconds:.3f}",
        "message": outcome.message,
    }


def _extent_columns(extent: Mapping[str, Any]) -> dict[str, str]:
    """Return what is known of an image's extent as columns: ``EX_area_percent`` and so on."""
    columns = {
        f"{code}_{name}": f"{value:.6g}" if isinstance(value, float) else str(value)
        for code, known in extent.get("classes", {}).items()
        for name, value in known.items()
        if name != "count"
    }
    if extent.get("field_of_view_px") is not None:
        columns[f"{_FIELD}_px"] = str(extent["field_of_view_px"])
    for name, known in extent.get("landmarks", {}).items():
        for key, value in known.items():
            text = f"{value:.1f}" if isinstance(value, float) else str(value)
            columns[f"{name}_{key}"] = text
    return columns


def _order_columns(names: Iterable[str], lesions: Sequence[str]) -> list[str]:
    """Return columns: counts first, then scores, then the areas by class, then what is known else.

    Rows of earlier runs may have columns of other classes: they keep theirs.
    """
    found = list(names)
    codes = [*lesions, *(n for n in found if "_" not in n and n not in lesions)]

    def rank(name: str) -> tuple[float, int]:
        code = name.partition("_")[0]
        if code == _SCORE:
            return 0.5, 0
        place = codes.index(code) if code in codes else len(codes)
        return (name not in codes) + (place == len(codes)), place

    return sorted(dict.fromkeys([*lesions, *found]), key=rank)
