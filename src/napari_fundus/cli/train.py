"""``napari-fundus train``: train a detector's weights on a data set."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_fundus.cli.common import (
    EXIT_INTERRUPTED,
    DebugOption,
    DeviceOption,
    cancel_on_interrupt,
    echo,
    handle_errors,
    parse_settings,
    progress_bar,
    stderr_console,
)
from napari_fundus.errors import Cancelled, OptionsError

if TYPE_CHECKING:
    from rich.console import Console

    from napari_fundus.runtime.progress import Monitor
    from napari_fundus.training import (
        CrossValidationFinished,
        CrossValidationSummary,
        Finished,
        FoldStarted,
        TrainingEvent,
    )

_SAME_IN_ALL_FOLDS = {"detector", "data", "healthy", "checkpoint", "settings"}
"""Fields of the config by which a cross-validation to resume is recognized."""


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
        typer.Option(
            "--check", help="Print what would be trained, and stop before the first step."
        ),
    ] = False,
    events: Annotated[
        bool,
        typer.Option(
            "--events",
            help="For other programs: print each event as a line of JSON, and read the lines "
            "pause, resume and stop from standard input; its end stops the training.",
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the model card, or the folds' figures, as JSON."),
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Train a detector; prints what is trained on what, then a line for each epoch.

    Some images are held back to validate on, never such of an eye that is trained on.
    best.safetensors in the run's folder holds the best weights, with a card that says how they
    were made; job.json holds what was asked for. Ctrl-C stops after the step being made; the same
    command with --resume goes on.
    """
    del debug
    from napari_fundus.training import CrossValidationFinished, cross_validate
    from napari_fundus.training.jobs.config import TrainingConfig
    from napari_fundus.training.jobs.worker import run_training, serve
    from napari_fundus.training.loop.fabric import is_secondary_rank

    chosen: dict[str, Any] = parse_settings(settings)
    if folds is not None and {"folds", "fold"} & chosen.keys():
        raise OptionsError("The folds are given twice: as --folds and with --set.")
    if scheme is not None:
        if "scheme" in chosen:
            raise OptionsError("The scheme is given twice: as --scheme and with --set.")
        chosen["scheme"] = scheme
    if folds is not None and (check or events):
        raise OptionsError("--check and --events are for one training, not for --folds.")
    config = TrainingConfig(
        detector=detector,
        data=str(data.resolve()),
        healthy=None if healthy is None else str(healthy.resolve()),
        checkpoint=_resolved(checkpoint),
        settings=chosen,
        name=name,
        device=device,
        resume=resume,
        overwrite=overwrite,
        check=check,
        command=shlex.join(["napari-fundus", *(w for w in sys.argv[1:] if w != "--events")]),
    )
    if events:
        raise typer.Exit(serve(lambda m: run_training(config, output, monitor=m), output))

    def train_fold(
        fold: int, *, output: Path, monitor: Monitor, **flags: bool
    ) -> Iterator[TrainingEvent]:
        changes = {
            "name": f"{name or output.resolve().parent.name}-fold-{fold}",
            "settings": {**chosen, "folds": folds, "fold": fold},
        }
        fold_config = config.model_copy(update={**changes, **flags})
        return run_training(fold_config, output, monitor=monitor)

    console = stderr_console()
    console.quiet = is_secondary_rank()
    last: Finished | CrossValidationFinished | None = None
    with progress_bar(console) as monitor, cancel_on_interrupt(monitor):
        event_stream: Iterator[TrainingEvent | FoldStarted | CrossValidationFinished]
        if folds is None:
            event_stream = run_training(config, output, monitor=monitor)
        else:
            event_stream = cross_validate(
                train_fold,
                folds,
                output,
                identity=config.model_dump(include=_SAME_IN_ALL_FOLDS),
                monitor=monitor,
                resume=resume,
                overwrite=overwrite,
            )
        try:
            for event in event_stream:
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

    if isinstance(event, Started):
        console.print(event.report.text())
        if event.epoch or event.step:
            console.print(f"Going on in epoch {event.epoch + 1} after step {event.step}.")
    elif isinstance(event, EpochEnd):
        metrics = ", ".join(f"{name} {value:.4f}" for name, value in event.metrics.items())
        console.print(f"epoch {event.epoch + 1}: {metrics}{' (best)' if event.improved else ''}")
    elif isinstance(event, FoldStarted):
        console.print(f"Fold {event.fold} of {event.folds}")
    elif isinstance(event, Finished | CrossValidationFinished):
        return event
    return None


def _print_folds(summary: CrossValidationSummary, output: Path, *, as_json: bool) -> None:
    from napari_fundus.training.search.fold_summary import SUMMARY_STEM

    if as_json:
        echo(summary.model_dump_json(indent=2))
        return
    echo(summary.markdown())
    echo(
        f"\nWritten to {output / SUMMARY_STEM}.md and .json; weights in {output}/fold_1 and so on."
    )


def _print_result(finished: Finished, detector: str, *, as_json: bool) -> None:
    from napari_fundus.checkpoints import read_card

    path = finished.best.path
    card = read_card(path)
    if as_json:
        echo(card.model_dump_json(indent=2))
        return
    metrics = ", ".join(f"{key} {value:.4f}" for key, value in card.metrics.items())
    licence = f" ({card.data_licence})" if card.data_licence else ""
    lines = [
        f"Ended by {finished.reason} after {finished.epochs} epochs, {finished.steps:,} steps and "
        f"{finished.seconds / 60:.1f} min; {finished.wait_share:.1%} of it waiting for data.",
        f"name     {card.name}",
        f"finds    {' '.join(card.lesions)}",
        f"data     {card.data}{licence}",
        f"split    {len(card.split.train)} images trained on, {len(card.split.validation)} held "
        "back",
        f"figures  {metrics}",
        f"file     {path} ({path.stat().st_size / 1e6:.2f} MB)",
        f"Use it:  napari-fundus detect IMAGE -d {detector} --set checkpoint={path} -o FOLDER",
    ]
    echo("\n".join(lines))
