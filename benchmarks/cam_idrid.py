"""Measure a classifier's weights on the IDRiD images they were not trained on.

Run ``python -m benchmarks.cam_idrid WEIGHTS``: scores are measured on the graded images that the
weights' card names as held back, heat maps on the images with masks whose eyes are not among the
training images.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from napari_fundus.backends.cam import Cam
from napari_fundus.checkpoints import ModelCard
from napari_fundus.datasets import Sample, open_dataset
from napari_fundus.evaluation import Candidate, Report, evaluate_dataset
from napari_fundus.evaluation.protocols import ClassificationProtocol, LocalizationProtocol
from napari_fundus.evaluation.protocols.classifier_plots import plot_reliability
from napari_fundus.evaluation.protocols.figure_layout import save_figure
from napari_fundus.metrics import (
    PUBLISHED_LOCALIZATION,
    PUBLISHED_SENSITIVITY,
    PUBLISHED_SPECIFICITY,
    BinaryScores,
    Interval,
    bootstrap_intervals,
    brier_score,
    cross_fit_temperature,
    fit_temperature,
    reliability_curve,
    to_logits,
)
from napari_fundus.runtime.progress import Monitor

_RESAMPLES = 1000
_POINTS = (1.0, 2.0, 4.0)
_LINEAR = frozenset({"referable", "any", "ordinal"})
"""Targets whose scores are the sigmoid of a logit, so that the card's temperature can be undone."""


def main() -> None:
    """Run over the images, print the page, and draw the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--grading", type=Path, default=Path("../shared/data/idrid"))
    parser.add_argument(
        "--segmentation", type=Path, help="images with masks; as --grading by default"
    )
    parser.add_argument("--method", default="auto", help="of the heat map; see the detector cam")
    parser.add_argument("--multi-resolution", action="store_true")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--every", type=int, default=1, help="only each n-th image, for a try")
    parser.add_argument("--cache", type=Path, help="folder in which maps are kept")
    parser.add_argument("-o", "--output", type=Path, help="folder for the page and the pictures")
    arguments = parser.parse_args()
    options = {
        "checkpoint": str(arguments.weights),
        "method": arguments.method,
        "multi_resolution": arguments.multi_resolution,
    }
    candidate = Candidate.of(Cam(), options)
    graded = _graded(arguments.grading, candidate)[:: arguments.every]
    drawn = _drawn(arguments.segmentation or arguments.grading, candidate)[:: arguments.every]
    reports = [
        _evaluate(samples, candidate, protocol, arguments)
        for samples, protocol in ((graded, "classification"), (drawn, "localization"))
    ]
    classified, localized = (report.trials[0].counters[0] for report in reports)
    if not isinstance(classified, ClassificationProtocol) or not isinstance(
        localized, LocalizationProtocol
    ):
        raise TypeError("The protocols are not those that were asked for.")
    lines = [
        *_head(candidate, arguments),
        *_classification(reports[0], classified, candidate.card),
        *_localization(reports[1], localized),
    ]
    print("\n".join(lines))
    if arguments.output:
        _write(arguments.output, lines, classified, localized, candidate.card)


def _graded(data: Path, candidate: Candidate) -> list[Sample]:
    """Return the graded images that the card names as held back."""
    samples = [s for s in open_dataset(data) if "dr" in s.grades]
    seen = {s.id for s in candidate.trained_on(samples)}
    held_back = [s for s in candidate.held_back(samples) if s.id not in seen]
    if not held_back:
        sys.exit(f"The card of {candidate.label} names no graded image of {data} as held back.")
    return held_back


def _drawn(data: Path, candidate: Candidate) -> list[Sample]:
    """Return the images with masks whose eyes the weights have not seen in training."""
    dataset = open_dataset(data)
    seen = {s.id for s in candidate.trained_on(dataset)}
    samples = [s for s in dataset.select(annotated="MA") if s.id not in seen]
    if not samples:
        sys.exit(f"{data} has no image with masks that the weights have not seen.")
    return samples


def _evaluate(
    samples: Sequence[Sample], candidate: Candidate, protocol: str, arguments: argparse.Namespace
) -> Report:
    def tell(progress: float) -> None:
        print(f"\r{protocol}: {progress:.0%}", end="", file=sys.stderr, flush=True)

    report = evaluate_dataset(
        samples,
        [candidate],
        protocols=[protocol],
        resamples=_RESAMPLES,
        cache=arguments.cache,
        device=arguments.device,
        monitor=Monitor(lambda progress: tell(progress.fraction)),
    )
    print(file=sys.stderr)
    return report


def _head(candidate: Candidate, arguments: argparse.Namespace) -> list[str]:
    card = candidate.card
    if card is None:
        raise TypeError("These weights have no card.")
    return [
        f"# Classifier of IDRiD: weights {card.name}, {card.content_sha256[:12]}",
        "",
        f"- Trained on {len(card.split.train)} images by `{card.command}`.",
        f"- Network {card.architecture.get('network')}, target {card.architecture.get('target')}; "
        f"heat map {arguments.method}"
        f"{', two resolutions' if arguments.multi_resolution else ''}.",
        f"- In brackets: bootstrap 95 % interval over images ({_RESAMPLES} resamples, seed 0), "
        "images of one eye drawn together.",
        "",
    ]


def _classification(
    report: Report, counter: ClassificationProtocol, card: ModelCard | None
) -> list[str]:
    metrics = report.metrics(report.trials[0].candidate.label, counter.name)
    lines = [
        "## Scores of whole images",
        "",
        f"IDRiD part B, {report.images} images held back in training, none of an eye that was "
        "trained on. The best epoch was chosen on these same images, so the figures are a little "
        "too good.",
        "",
        "| | " + " | ".join(metrics) + " |",
        "|---" * (len(metrics) + 1) + "|",
    ]
    names = list(dict.fromkeys(name for row in metrics.values() for name in row))
    hidden = ("calibration_error", "calibration_error_scaled", "brier")
    for name in (n for n in names if n not in hidden):
        heading = counter.headings.get(name, name)
        cells = [str(row.get(name, "–")) for row in metrics.values()]
        lines.append(f"| {heading} | {' | '.join(cells)} |")
    lines += [
        "",
        "Published for referable DR (another data set, DIARETDB1): AUC .954, sensitivity "
        f"{PUBLISHED_SENSITIVITY:.1%} at specificity {PUBLISHED_SPECIFICITY:.1%}.",
        "",
    ]
    for name, scores in counter.scores().items():
        lines += _reliability(name, scores, card)
    return lines


def _probabilities(
    scores: BinaryScores, card: ModelCard | None
) -> dict[str, npt.NDArray[np.float64]]:
    """Return the probabilities before and after temperatures, by how these were fitted."""
    target = "" if card is None else card.architecture.get("target")
    inside = 1.0 if card is None else float(card.recipe.get("temperature", 1.0))
    logits = to_logits(scores.score)
    found = {}
    if target in _LINEAR and inside != 1:
        logits = logits * inside
        found["before"] = np.asarray(expit(logits))
        found[f"as shipped, temperature {inside:.2f}"] = scores.score
    else:
        found["before"] = scores.score
    found["after, temperatures of other images"] = cross_fit_temperature(
        logits, scores.truth, groups=scores.groups
    )
    return found


def _reliability(name: str, scores: BinaryScores, card: ModelCard | None) -> list[str]:
    probabilities = _probabilities(scores, card)
    fitted = fit_temperature(to_logits(probabilities["before"]), scores.truth)
    lines = [
        f"### Reliability of {name}",
        "",
        "| probability | calibration error, 10 bins | Brier score |",
        "|---|---|---|",
    ]
    for how, said in probabilities.items():

        def read(w: npt.NDArray[np.int64], p: npt.NDArray[np.float64] = said) -> dict[str, float]:
            return {
                "error": reliability_curve(p, scores.truth, weights=w).error,
                "brier": brier_score(p, scores.truth, weights=w),
            }

        row: dict[str, Interval] = bootstrap_intervals(
            read, len(scores), resamples=_RESAMPLES, groups=scores.groups
        )
        lines.append(f"| {how} | {row['error']} | {row['brier']} |")
    bound = "; these images cannot settle it" if fitted.at_bound else ""
    return [
        *lines,
        "",
        f"All these images together ask for temperature {fitted.value:.2f}{bound}. A temperature "
        "on the card was fitted on them too; those of the last row were not: 5 folds, eyes kept "
        "together.",
        "",
    ]


def _localization(report: Report, counter: LocalizationProtocol) -> list[str]:
    metrics = report.metrics(report.trials[0].candidate.label, counter.name)
    lines = [
        "## Where the heat map points",
        "",
        f"IDRiD part A, {report.images} images with masks, of eyes that were not trained on. "
        f"{counter.method}",
        "",
        "| class | lesions | lesions, strict | loose | FPI | of these astray | images with it | "
        "images, strict | loose | published (another data set, DIARETDB1): strict, FPI |",
        "|---" * 10 + "|",
    ]
    for code, row in metrics.items():
        published = PUBLISHED_LOCALIZATION.get(code)
        beside = "–" if published is None else f"{published.sensitivity:.0%}, {published.fpi:g}"
        names = ("strict", "loose", "fpi", "astray", "with it", "images strict", "images loose")
        cells = " | ".join(str(row[name]) for name in names)
        lines.append(f"| {code} | {row['lesions']:,} | {cells} | {beside} |")
    lines += [
        "",
        "Lesions found at so many false regions an image, over thresholds of the map, up to the "
        "one of most regions (– where the curve gets never so low):",
        "",
        "| class | rule | " + " | ".join(f"{point:g}" for point in _POINTS) + " | curve ends at |",
        "|---" * (len(_POINTS) + 3) + "|",
    ]
    for code in metrics:
        for rule in ("strict", "loose"):
            curve = counter.counted.curve(code, rule=rule)
            read = [curve.at(point) for point in _POINTS]
            cells = " | ".join(
                "–" if p.reach == "never so low" else f"{p.sensitivity:.3f}" for p in read
            )
            end = "–" if curve.ended is None else f"{curve.ended:g}"
            lines.append(f"| {code} | {rule} | {cells} | {end} |")
    times = [image.seconds for image in report.trials[0].images]
    lines += [
        "",
        f"Detection took {np.median(times):.1f} s an image (median) on "
        f"{report.trials[0].images[0].device} ({platform.machine()}).",
    ]
    return lines


def _write(
    folder: Path,
    lines: Sequence[str],
    classified: ClassificationProtocol,
    localized: LocalizationProtocol,
    card: ModelCard | None,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cam_idrid.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, draw in {**classified.own_plots(), **localized.own_plots()}.items():
        if not name.startswith("reliability"):
            save_figure(draw(), folder / f"{name}.png", overwrite=True)
    for name, scores in classified.scores().items():
        curves = {
            how: reliability_curve(said, scores.truth)
            for how, said in _probabilities(scores, card).items()
        }
        path = folder / f"reliability_{name.replace(' ', '_').lower()}.png"
        save_figure(plot_reliability(curves, title=name), path, overwrite=True)


if __name__ == "__main__":
    main()
