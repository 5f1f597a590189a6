"""The report on a data set: what is in it, how much of it, and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

from pydantic import BaseModel

from napari_fundus.datasets.base import Dataset, Problem, Sample
from napari_fundus.datasets.masks import image_shape
from napari_fundus.errors import Cancelled, FundusError
from napari_fundus.lesions import Lesion, describe
from napari_fundus.runtime.progress import Monitor
from napari_fundus.runtime.text import describe_error

_THREADS = 2
_ORDER = {code: number for number, code in enumerate(Lesion)}


class ClassSummary(BaseModel):
    """What a data set holds of one class.

    Attributes
    ----------
    code, name
        Of the class.
    annotated
        Images in which experts looked for it.
    drawn
        Images that have a mask file, points or shapes of it.
    with_lesions
        Images in which at least one is there; None if lesions were not counted.
    lesions
        Their number (8-connected components, points or shapes); None if not counted.
    """

    code: str
    name: str
    annotated: int
    drawn: int
    with_lesions: int | None = None
    lesions: int | None = None


class DatasetSummary(BaseModel):
    """The report on a data set.

    Attributes
    ----------
    name, title, reference, licence, root
        As of the data set.
    images
        Number of samples.
    splits
        Samples by split; ``"all"`` where there is none.
    parts
        Samples by the first part of their id, for sets that have several (IDRiD).
    classes
        What is annotated.
    grades
        Kind of grade to grade to number of images.
    graded
        Images with a grade of diabetic retinopathy.
    centres
        Images with a known centre of the optic disc or fovea, by class.
    groups
        Groups of more than one image of the same eye or person.
    problems
        What is missing or odd.
    """

    name: str
    title: str
    reference: str
    licence: str
    root: str
    images: int
    splits: dict[str, int]
    parts: dict[str, int]
    classes: list[ClassSummary]
    grades: dict[str, dict[int, int]]
    graded: int
    centres: dict[str, int]
    groups: int
    problems: list[Problem]

    def to_text(self) -> str:
        """Return the report as plain text, a few short tables."""
        return "\n".join(_lines(self)) + "\n"


def _lines(report: DatasetSummary) -> Iterator[str]:
    yield f"{report.title} [{report.name}]"
    yield f"in {report.root}"
    yield from (f"{key}: {v}" for key in ("reference", "licence") if (v := getattr(report, key)))
    yield ""
    yield f"images: {report.images} ({_counts(report.splits)})"
    if report.parts:
        yield f"parts: {_counts(report.parts)}"
    if report.groups:
        yield f"groups of the same eye or person: {report.groups}"
    if report.classes:
        rows: list[tuple[str, ...]] = [
            ("class", "", "annotated", "drawn", "with lesions", "lesions")
        ]
        for c in report.classes:
            counts = (c.annotated, c.drawn, c.with_lesions, c.lesions)
            rows.append((c.code, c.name, *("-" if n is None else str(n) for n in counts)))
        yield ""
        yield from _table(rows)
    if report.graded:
        yield f"\ngraded images: {report.graded}"
    for kind, counts_ in report.grades.items():
        yield f"grade {kind}: {_counts({str(k): v for k, v in counts_.items()})}"
    if report.centres:
        yield f"\ncentres: {_counts(report.centres)}"
    yield f"\nproblems: {len(report.problems) or 'none'}"
    yield from (f"  {problem.path}: {problem.message}" for problem in report.problems)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{key} {number}" for key, number in counts.items())


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        words = [
            c.ljust(w) if i < 2 else c.rjust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(words).rstrip()


@dataclass
class _Counted:
    """What was found in the truths of one sample."""

    lesions: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def _count(sample: Sample) -> _Counted:
    counted = _Counted()
    try:
        shape = image_shape(sample.image_path)
    except (FundusError, OSError, MemoryError) as error:
        message = f"The image cannot be read: {describe_error(error)}"
        counted.problems.append(Problem(sample.id, message))
        return counted
    for code, truth in sample.truths.items():
        try:
            counted.lesions[code] = truth.count(shape)
            outside = truth.count_outside(shape)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - the truth may be of a plugin
            counted.problems.append(Problem(sample.id, f"{code}: {describe_error(error)}"))
            continue
        if outside:
            message = f"{outside} {code} marks lie outside the image and are left out."
            counted.problems.append(Problem(sample.id, message))
    return counted


def _count_all(samples: Iterable[Sample], monitor: Monitor) -> dict[str, _Counted]:
    drawn = [sample for sample in samples if sample.truths]
    counted: dict[str, _Counted] = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        running = {pool.submit(_count, sample): sample for sample in drawn}
        try:
            done = as_completed(running)
            for future in monitor.track(done, total=len(running), message="counting lesions"):
                counted[running[future].id] = future.result()
        except Cancelled:
            pool.shutdown(cancel_futures=True)
            raise
    return {sample.id: counted[sample.id] for sample in drawn}


def summarize(
    dataset: Dataset, monitor: Monitor | None = None, *, count_lesions: bool = True
) -> DatasetSummary:
    """Report on a data set.

    Parameters
    ----------
    dataset
        What :func:`~napari_fundus.datasets.open_dataset` gave.
    monitor
        Takes progress and may cancel.
    count_lesions
        Whether to read all masks and count; without it the report comes at once.

    Raises
    ------
    Cancelled
        The monitor asked to stop.
    """
    counted = _count_all(dataset, monitor or Monitor()) if count_lesions else {}
    problems = [*dataset.problems, *(p for c in counted.values() for p in c.problems)]
    parts = Counter(sample.id.split("/")[0] for sample in dataset if "/" in sample.id)
    sizes = Counter(sample.group for sample in dataset if sample.group is not None)
    grades: dict[str, Counter[int]] = {}
    centres: Counter[str] = Counter()
    for sample in dataset:
        centres.update(sample.centres.keys())
        for kind, value in sample.grades.items():
            grades.setdefault(kind, Counter())[value] += 1
    return DatasetSummary(
        name=dataset.name,
        title=dataset.title,
        reference=dataset.reference,
        licence=dataset.licence,
        root=str(dataset.root),
        images=len(dataset),
        splits=dataset.splits,
        parts=dict(parts) if dataset.name == "idrid" else {},
        classes=_classes(dataset, counted if count_lesions else None),
        grades={kind: dict(sorted(c.items())) for kind, c in sorted(grades.items())},
        graded=sum("dr" in sample.grades for sample in dataset),
        centres=dict(sorted(centres.items())),
        groups=sum(size > 1 for size in sizes.values()),
        problems=problems,
    )


def _classes(dataset: Dataset, counted: dict[str, _Counted] | None) -> list[ClassSummary]:
    annotated = Counter(str(code) for sample in dataset for code in sample.annotated)
    drawn = Counter(str(code) for sample in dataset for code in sample.truths)
    present: Counter[str] = Counter()
    lesions: Counter[str] = Counter()
    for sample in (counted or {}).values():
        for code, number in sample.lesions.items():
            present[str(code)] += number > 0
            lesions[str(code)] += number
    return [
        ClassSummary(
            code=code,
            name=describe(code).name,
            annotated=annotated[code],
            drawn=drawn[code],
            with_lesions=None if counted is None else present[code],
            lesions=None if counted is None else lesions[code],
        )
        for code in sorted(annotated, key=lambda c: (_ORDER.get(c, len(_ORDER)), c))  # type: ignore[call-overload]
    ]
