"""The evaluation: each image read once, each detector run over it once, all protocols fed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from napari_fundus.datasets import Sample
from napari_fundus.detector import Detector
from napari_fundus.errors import Cancelled, FundusError, OptionsError
from napari_fundus.evaluation.candidate import Candidate, with_unique_labels
from napari_fundus.evaluation.crops import CropCollector
from napari_fundus.evaluation.map_cache import MapCache
from napari_fundus.evaluation.protocols.base import EvaluationProtocol, EvaluationSettings
from napari_fundus.evaluation.protocols.case import Case, is_healthy
from napari_fundus.evaluation.protocols.discovery import (
    DEFAULT_PROTOCOLS,
    find_protocols,
    get_protocol,
)
from napari_fundus.evaluation.results import CandidateResult, ImageRecord, Report, ReportSource
from napari_fundus.metrics.froc_curve import CPM_POINTS
from napari_fundus.metrics.instance_objects import PAPER_WIDTH
from napari_fundus.results.detections import Detections
from napari_fundus.runtime.devices import choose_device
from napari_fundus.runtime.progress import Monitor


def evaluate_dataset(
    samples: Sequence[Sample],
    detectors: Sequence[Candidate | Detector],
    *,
    protocols: Sequence[str | type[EvaluationProtocol]] = DEFAULT_PROTOCOLS,
    lesions: Sequence[str] | None = None,
    points: Sequence[float] = CPM_POINTS,
    steps: Sequence[int] = (33, 11, 0),
    resamples: int = 1000,
    seed: int = 0,
    dilated_at: int = PAPER_WIDTH,
    cache: str | Path | None = None,
    device: str = "auto",
    monitor: Monitor | None = None,
    source: ReportSource | None = None,
    known: Iterable[Sample] | None = None,
) -> Report:
    """Measure detectors side by side on the same images.

    One image is in memory at a time, and each leaves a few numbers behind. A run that was killed
    or cancelled goes on where it was, from the maps in `cache`.

    Parameters
    ----------
    samples
        The images, see `select_samples`. Only classes annotated in an image are evaluated in it;
        images of grade 0 without masks are healthy and count in FPI.
    detectors
        What is measured: detectors at their default options, or `Candidate.of(detector, options)`.
    protocols
        Names of installed ones (see `find_protocols`), or subclasses of `EvaluationProtocol`.
    lesions
        Classes; None takes all that a detector finds and that are annotated.
    points
        False positives an image at which FROC reads sensitivity.
    steps
        Numbers of thresholds of AUPR; 0 stands for every threshold.
    resamples, seed
        Of the bootstrap over images, those of one eye drawn together.
    dilated_at
        For instances: width of the field of view in px at which true lesions are dilated; that at
        which a detector's own training dilated them, if not the paper's.
    cache
        Folder in which maps are kept; None keeps none.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``; a detector that cannot use a
        graphics card runs on the CPU.
    monitor
        Takes progress, and may cancel.
    source
        Where the images come from, for the report.
    known
        All samples of the data set, if `samples` are a part: they tell which eyes the weights have
        seen.

    Raises
    ------
    OptionsError
        A protocol or class is unknown, or nothing is left to evaluate.
    FundusError
        No image could be evaluated; the message is that of the first.
    Cancelled
        The run was cancelled.

    Examples
    --------
    >>> from napari_fundus.backends.tophat import TopHat
    >>> from napari_fundus.datasets import open_dataset
    >>> from napari_fundus.samples import sample_folder
    >>> samples = open_dataset(sample_folder())
    >>> chosen = {"protocols": ["overlap"], "lesions": ["MA"], "resamples": 10}
    >>> report = evaluate_dataset(samples, [TopHat()], **chosen)
    >>> report.metrics("tophat", "overlap")["MA"]["lesions"]
    125
    """
    candidates = with_unique_labels(
        [d if isinstance(d, Candidate) else Candidate.of(d) for d in detectors]
    )
    counters = [get_protocol(p) if isinstance(p, str) else p for p in protocols]
    if not counters:
        raise OptionsError(f"Name at least one protocol: {', '.join(find_protocols().items)}.")
    wanted = _classes(samples, candidates, lesions)
    settings = EvaluationSettings(wanted, tuple(points), tuple(steps), resamples, seed, dilated_at)
    chosen = [s for s in samples if any(c.counts(s, wanted) for c in counters)]
    if not chosen:
        raise OptionsError(
            f"Nothing to evaluate: in none of the {len(samples)} images {' or '.join(wanted)} is "
            "annotated."
        )
    universe = list({s.id: s for s in [*(known or ()), *samples]}.values())
    trials = [
        CandidateResult(
            candidate,
            [counter(settings) for counter in counters],
            CropCollector(per_image=max(3, -(-32 // len(chosen)))),
            frozenset(s.id for s in candidate.trained_on(universe)),
        )
        for candidate in candidates
    ]
    runs = [_cache_of(trial.candidate, cache, device) for trial in trials]
    problems = _run(chosen, trials, runs, wanted, monitor or Monitor())
    return Report(trials, settings, source or ReportSource(), problems)


def _classes(
    samples: Sequence[Sample], candidates: Sequence[Candidate], lesions: Sequence[str] | None
) -> tuple[str, ...]:
    """Return the classes to evaluate, in the detectors' order."""
    annotated = {str(code) for s in samples for code in s.annotated}
    found: dict[str, None] = {}
    for candidate in candidates:
        card = candidate.card
        found |= dict.fromkeys(map(str, candidate.detector.lesions))
        found |= dict.fromkeys(card.lesions if card is not None else ())
    if lesions is None:
        wanted = tuple(code for code in found if code in annotated)
        # A classifier's map is of no class that anybody draws; its protocols look at others.
        return wanted or tuple(sorted(annotated))
    if unknown := [code for code in lesions if code not in annotated]:
        raise OptionsError(
            f"{', '.join(unknown)}: not annotated in any of these images. Annotated: "
            f"{', '.join(sorted(annotated)) or 'nothing'}."
        )
    return tuple(dict.fromkeys(map(str, lesions)))


def _cache_of(candidate: Candidate, cache: str | Path | None, device: str) -> MapCache:
    detector = candidate.detector
    usable = device == "auto" or device.partition(":")[0] in detector.devices
    # One device is asked for all detectors: those that run on the CPU alone do so.
    asked = device if usable or "cpu" not in detector.devices else "cpu"
    name = choose_device(asked, supported=detector.devices).name
    folder = None if cache is None else Path(cache).expanduser()
    weights = candidate.weights_sha256 or detector.weights_sha256(candidate.options)
    return MapCache(detector, candidate.options, name, folder, weights)


def _run(
    samples: Sequence[Sample],
    trials: Sequence[CandidateResult],
    runs: Sequence[MapCache],
    lesions: tuple[str, ...],
    monitor: Monitor,
) -> Mapping[str, str]:
    """Feed all images to all counters; return what could not be done."""
    problems: dict[str, str] = {}
    first: FundusError | OSError | None = None
    for number, sample in enumerate(samples):
        part = monitor.part(number / len(samples), (number + 1) / len(samples))
        try:
            case, results = _detect(sample, runs, lesions, part)
        except Cancelled:
            raise
        except (FundusError, OSError) as error:
            first = first or error
            problems[sample.id] = " ".join(str(error).split())
            continue
        # Only now, when all detectors have done it: all are measured on the same images.
        for trial, (detections, kept) in zip(trials, results, strict=True):
            known = case.within(detections)
            for counter in trial.counters:
                part.check()
                if counter.counts(sample, lesions):
                    counter.add(known, case)
            trial.crops.add(known, case)
            trial.images.append(_record(sample, detections, trial, kept=kept))
        part.step(1.0, sample.id)
    if first is not None and len(problems) == len(samples):
        raise first
    return problems


def _detect(
    sample: Sample, runs: Sequence[MapCache], lesions: tuple[str, ...], monitor: Monitor
) -> tuple[Case, list[tuple[Detections, bool]]]:
    """Return the image with its truth read, and each detector's result."""
    image = sample.image()
    case = Case(sample, image, lesions)
    for code in (*case.annotated, *case.absent):
        case.truth(code)
    results = []
    for number, run in enumerate(runs):
        share = 0.8 / len(runs)
        part = monitor.part(number * share, (number + 1) * share)
        part.step(0.0, f"{run.detector.name}: {sample.id}")
        results.append(run.get(image, part))
    return case, results


def _record(
    sample: Sample, detections: Detections, trial: CandidateResult, *, kept: bool
) -> ImageRecord:
    provenance = detections.provenance
    return ImageRecord(
        sample.id,
        str(sample.image_path),
        sample.split,
        is_healthy(sample),
        provenance.seconds,
        provenance.device,
        provenance.precision,
        kept,
        sample.id in trial.seen,
    )
