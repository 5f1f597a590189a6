"""The report as Markdown: what was measured on what, then a table a protocol."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator, Sequence

from napari_fundus._version import __version__
from napari_fundus.evaluation.protocols.base import EvaluationProtocol, MetricValue
from napari_fundus.evaluation.protocols.published import published_for
from napari_fundus.evaluation.results import CandidateResult, Report
from napari_fundus.lesions import describe
from napari_fundus.metrics.bootstrap import Interval

_FEW = 5
"""Images below which a bootstrap over images is warned of."""


def to_markdown(report: Report, *, pictures: Sequence[str] = ()) -> str:
    """Return the report as Markdown.

    Parameters
    ----------
    report
        The figures.
    pictures
        File names of pictures beside it, to be shown at the end.
    """
    lines = ["# Evaluation", ""]
    for warning in report.warnings:
        lines += [f"> **WARNING.** {warning}", ""]
    lines += [*_data(report), "", "## Detectors", "", *_detectors(report), ""]
    for counter in report.protocols:
        lines += [*_protocol(report, counter), ""]
    if report.problems:
        lines += ["## Images left out", ""]
        lines += [f"- `{name}`: {reason}" for name, reason in report.problems.items()]
        lines.append("")
    if pictures:
        lines += ["## Pictures", ""]
        lines += [f"![{name.partition('.')[0]}]({name})\n" for name in pictures]
    return "\n".join(lines).rstrip() + "\n"


def _data(report: Report) -> Iterator[str]:
    source = report.source
    records = report.trials[0].images
    healthy = sum(record.healthy for record in records)
    if source.title:
        licence = f" ({source.licence})" if source.licence else ""
        yield f"- Data: {source.title}{licence}, in `{source.root}`."
    kinds = f", {healthy} of them healthy without masks" if healthy else ""
    chosen = f" ({source.split}): {source.note}" if source.note else ""
    yield f"- Images: {len(records)}{kinds}{chosen}. They are named in `images.csv`."
    yield (
        "- Only classes that experts looked for in an image are evaluated in it: absence of "
        "annotation is not absence of lesions."
    )
    yield (
        f"- In brackets: bootstrap 95 % interval over images, {report.settings.resamples} "
        f"resamples, seed {report.settings.seed}; images of one eye are drawn together."
    )
    if report.images < _FEW:
        yield (
            f"- **{report.images} images are few**: an interval over so few images means little."
        )
    yield "- Maps are rounded down to multiples of 1/64000, fresh ones too; see `MapCache`."
    if source.command:
        yield f"- Command: `{source.command}`"
    yield (
        f"- napari-fundus {__version__}, Python {platform.python_version()}, {platform.machine()}; "
        f"{report.created}."
    )


def _detectors(report: Report) -> Iterator[str]:
    yield _row("detector", "version", "weights", "options", "seconds an image", "on")
    yield _rule(6)
    for trial in report.trials:
        candidate = trial.candidate
        options = candidate.options.model_dump(mode="json")
        shown = ", ".join(
            f"{name} {value}"
            for name, value in options.items()
            if name != "checkpoint" and value is not None
        )
        median, largest = trial.seconds
        yield _row(
            candidate.label,
            candidate.detector.version,
            _weights(trial),
            shown,
            f"{median:.1f} (at most {largest:.1f})",
            ", ".join(dict.fromkeys(f"{r.device}, {r.precision}" for r in trial.images)),
        )
    kept = sum(record.kept for trial in report.trials for record in trial.images)
    if kept:
        yield ""
        yield f"{kept} maps were kept from an earlier run, and with them their times."


def _weights(trial: CandidateResult) -> str:
    candidate = trial.candidate
    if candidate.card is None:
        return "none"
    card = candidate.card
    return (
        f"{card.name}, SHA-256 `{(candidate.weights_sha256 or '')[:16]}…`, trained on "
        f"{len(card.split.train)} images, {len(card.split.validation)} held back"
    )


def _protocol(report: Report, protocol: EvaluationProtocol) -> Iterator[str]:
    yield f"## {protocol.title}"
    yield ""
    yield protocol.method
    rows: dict[str, list[tuple[str, dict[str, MetricValue]]]] = {}
    for trial in report.trials:
        label = trial.candidate.label
        for row, metrics in report.metrics(label, protocol.name).items():
            rows.setdefault(row, []).append((label, dict(metrics)))
    if not rows:
        yield ""
        yield "None of the detectors has anything that this protocol counts."
        return
    names = list(dict.fromkeys(n for of in rows.values() for _, metrics in of for n in metrics))
    yield ""
    yield _row("class", "detector", *(protocol.headings.get(name, name) for name in names))
    yield _rule(len(names) + 2)
    order = [code for code in report.settings.lesions if code in rows]
    for row in [*order, *(r for r in rows if r not in order)]:
        for label, metrics in rows[row]:
            cells = (
                _cell(metrics.get(name), with_interval=protocol.shows_interval(name))
                for name in names
            )
            yield _row(row, label, *cells)
    yield ""
    if known := [f"{row}: {describe(row).plural}" for row in rows if describe(row).plural != row]:
        yield f"{'; '.join(known)}."
    remarks = [
        f"- {t.candidate.label}: {r}." for t in report.trials for r in _remarks_of(t, protocol)
    ]
    if remarks:
        yield ""
        yield from remarks
    yield from _published(protocol.name, rows)


def _remarks_of(trial: CandidateResult, protocol: EvaluationProtocol) -> Sequence[str]:
    counter = trial.counter(protocol.name)
    return counter.remarks() if counter is not None else ()


def _published(
    protocol: str, rows: dict[str, list[tuple[str, dict[str, MetricValue]]]]
) -> Iterator[str]:
    items = [p for p in published_for(protocol) if p.lesion in rows or p.lesion == "all"]
    if not items:
        return
    yield ""
    yield "Published by the same protocol, on other images than these:"
    yield ""
    yield _row("class", "figure", "value", "by", "measured on")
    yield _rule(5)
    for p in items:
        yield _row(p.lesion, p.figure, f"{p.value:.4f}".strip("0").rstrip("."), p.by, p.measured_on)


def _cell(figure: MetricValue, *, with_interval: bool) -> str:
    if figure is None or (isinstance(figure, float) and math.isnan(figure)):
        return "–"
    if isinstance(figure, Interval):
        if math.isnan(figure.estimate):
            return "–"
        return str(figure) if with_interval else str(figure).partition(" (")[0]
    return f"{figure:,}" if isinstance(figure, int) else f"{figure:.4g}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _rule(columns: int) -> str:
    return "|---" * columns + "|"
