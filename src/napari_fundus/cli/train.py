"""``napari-fundus train``: train a detector's weights on a data set."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_fundus.cli.common import (
    EXIT_INTERRUPTED,
    DebugOption,
    DeviceOption,
    cancel_on_interrupt,
    handle_errors,
    parse_settings,
    progress_bar,
    stderr_console,
)
from napari_fundus.errors import Cancelled, OptionsError

if TYPE_CHECKING:
    from rich.console import Console

    from napari_fundus.runtime.monitor import Monitor
    from napari_fundus.training import (
        CrossValidationFinished,
        CrossValidationSummary,
        Finished,
        FoldStarted,
        TrainingEvent,
    )

__all__ = ["train"]


@handle_errors
def train(
    detector: Annotated[str, typer.Argument(help="Which detector to train, such as voting.")],
    *,
    data: Annotated[
        Path, typer.Option("--data", help="Data set with lesions drawn.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the run.", show_default=False)
    ],
    healthy: Annotated[
        Path | None, typer.Option("--healthy", help="Folder of images without any disease.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="FIELD=VALUE",
            help="Change a setting, as in --set max_minutes=30 --set learning_rate=1e-3; may be "
            "repeated. A wrong name lists all there are.",
        ),
    ] = None,
    scheme: Annotated[
        str | None,
        typer.Option(
            "--scheme",
            help="Which weights to train on from --checkpoint: full, interleaved, freeze_5, "
            "freeze_5_bn, none.",
        ),
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", help="Weights to start from: a name or a path.")
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            "--folds",
            min=2,
            help="Cross-validate: train so many times, each time with another part of the images "
            "held back, into RUN/fold_1 and so on; cross-validation.md sums up.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str, typer.Option("--name", help="Name of the weights; else that of the folder.")
    ] = "",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the folder, if there is one.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run in the folder.")
    ] = False,
    device: DeviceOption = "auto",
    check: Annotated[
        bool,
        typer.Option("--check", help="Tell what would be trained, and stop before the first step."),
    ] = False,
    events: Annotated[
        bool,
        typer.Option(
            "--events",
            help="For other programs: tell each event as a line of JSON, and obey the lines pause, "
            "resume and stop on standard input; its end stops the training.",
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the model card, or the folds' figures, as JSON."),
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Train a detector, telling first what is trained on what, then a line for each epoch.

    Some images are held back to validate on, never such of an eye that is trained on.
    best.safetensors in the run's folder holds the best weights, with a card that tells how they
    were made. Ctrl-C stops after the step being made; the same command with --resume goes on.
    """
    del debug
    from napari_fundus.plugins import get_detector
    from napari_fundus.training import CrossValidationFinished, cross_validate
    from napari_fundus.training.jobs.config import TrainingConfig, run_training
    from napari_fundus.training.jobs.worker import serve
    from napari_fundus.training.loop.fabric import is_secondary_rank

    chosen: dict[str, Any] = parse_settings(settings)
    if folds is not None and {"folds", "fold"} & chosen.keys():
        raise OptionsError("The folds are given twice: as --folds and with --set.")
    if scheme is not None:
        if "scheme" in chosen:
            raise OptionsError("The scheme is given twice: as --scheme and with --set.")
        chosen["scheme"] = scheme
    console = stderr_console()
    console.quiet = is_secondary_rank()
    trainee = get_detector(detector)
    words = [word for word in sys.argv[1:] if word != "--events"]
    command = shlex.join(["napari-fundus", *words])
    order = TrainingConfig(
        detector=detector,
        data=str(data.resolve()),
        healthy=None if healthy is None else str(healthy.resolve()),
        checkpoint=_resolved(checkpoint),
        settings=chosen,
        name=name,
        device=device,
    )
    if folds is not None and (check or events):
        raise OptionsError("--check and --events are for one training, not for --folds.")

    def begin(
        fold: int | None = None, *, output: Path, monitor: Monitor, resume: bool, overwrite: bool
    ) -> Iterator[TrainingEvent]:
        told = order
        if fold is not None:
            title = f"{name or output.resolve().parent.name}-fold-{fold}"
            held_back = {**chosen, "folds": folds, "fold": fold}
            told = order.model_copy(update={"name": title, "settings": held_back})
        return run_training(
            told,
            trainee.train,
            output,
            monitor=monitor,
            resume=resume,
            overwrite=overwrite,
            check=check,
            command=command,
        )

    if events and not is_secondary_rank():
        start = partial(begin, output=output, resume=resume, overwrite=overwrite)
        raise typer.Exit(serve(lambda monitor: start(monitor=monitor), output))
    last: Finished | CrossValidationFinished | None = None
    with progress_bar(console) as monitor, cancel_on_interrupt(monitor):
        place: dict[str, Any] = {"monitor": monitor, "resume": resume, "overwrite": overwrite}
        told: Iterator[TrainingEvent | FoldStarted | CrossValidationFinished]
        if folds is None:
            told = begin(output=output, **place)
        else:
            identity = _identity(detector, data, healthy, checkpoint, chosen)
            told = cross_validate(begin, folds, output, identity=identity, **place)
        try:
            for event in told:
                last = _print_event(event, console) or last
        except Cancelled as error:
            console.print(str(error))
            raise typer.Exit(EXIT_INTERRUPTED) from None
    if isinstance(last, CrossValidationFinished):
        _print_folds(last.summary, output, as_json=as_json)
    elif last is not None:
        _print_result(last, detector, as_json=as_json)


def _resolved(checkpoint: str | None) -> str | None:
    """Return a path in full, so that the run can be resumed from anywhere; a name as it is."""
    if checkpoint is None or not Path(checkpoint).is_file():
        return checkpoint
    return str(Path(checkpoint).resolve())


def _identity(
    detector: str,
    data: Path,
    healthy: Path | None,
    checkpoint: str | None,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Return what the folds of a cross-validation have in common."""
    return {
        "detector": detector,
        "data": str(data.resolve()),
        "healthy": None if healthy is None else str(healthy.resolve()),
        "checkpoint": checkpoint,
        "settings": settings,
    }


def _print_event(
    event: TrainingEvent | FoldStarted | CrossValidationFinished, console: Console
) -> Finished | CrossValidationFinished | None:
    """Print the report and a line an epoch; return the event if it is a last one."""
    from napari_fundus.training import (
        CrossValidationFinished,
        EpochEnd,
        Finished,
        FoldStarted,
        Started,
    )

    say = console.print
    if isinstance(event, Started):
        say(event.report.text())
        if event.epoch or event.step:
            say(f"Going on in epoch {event.epoch + 1} after step {event.step}.")
    elif isinstance(event, EpochEnd):
        figures = ", ".join(f"{name} {value:.4f}" for name, value in event.metrics.items())
        say(f"epoch {event.epoch + 1}: {figures}{' (best)' if event.improved else ''}")
    elif isinstance(event, FoldStarted):
        say(f"Fold {event.fold} of {event.folds}")
    elif isinstance(event, Finished | CrossValidationFinished):
        return event
    return None


def _print_folds(summary: CrossValidationSummary, output: Path, *, as_json: bool) -> None:
    from napari_fundus.training.search.fold_summary import SUMMARY_STEM

    if as_json:
        typer.echo(summary.model_dump_json(indent=2))
        return
    typer.echo(summary.markdown())
    typer.echo(
        f"\nWritten to {output / SUMMARY_STEM}.md and .json; weights in {output}/fold_1 and so on."
    )


def _print_result(finished: Finished, detector: str, *, as_json: bool) -> None:
    from napari_fundus.checkpoints import read_card

    path = finished.best.path
    card = read_card(path)
    if as_json:
        typer.echo(card.model_dump_json(indent=2))
        return
    figures = ", ".join(f"{key} {value:.4f}" for key, value in card.metrics.items())
    licence = f" ({card.data_licence})" if card.data_licence else ""
    lines = [
        f"Ended by {finished.reason} after {finished.epochs} epochs, {finished.steps:,} steps and "
        f"{finished.seconds / 60:.1f} min; {finished.wait_share:.1%} of it waiting for data.",
        f"name     {card.name}",
        f"finds    {' '.join(card.lesions)}",
        f"data     {card.data}{licence}",
        f"split    {len(card.split.train)} images trained on, {len(card.split.validation)} held "
        "back",
        f"figures  {figures}",
        f"file     {path} ({path.stat().st_size / 1e6:.2f} MB)",
        f"Use it:  napari-fundus detect IMAGE -d {detector} --set checkpoint={path} -o FOLDER",
    ]
    typer.echo("\n".join(lines))
