"""``napari-fundus models``: which weights there are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_fundus.cli.common import (
    DebugOption,
    echo,
    handle_errors,
    plain,
    stdout_console,
)

if TYPE_CHECKING:
    from napari_fundus.checkpoints import CheckpointInfo

_SHOWN = ("aupr", "cpm", "dice", "auc", "map")
"""Metrics that the table shows, where a card has them; JSON shows all."""


@handle_errors
def list_models(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole model cards.")] = False,
    debug: DebugOption = False,
) -> None:
    """List weights: those that ship with the package, your own, and those to download.

    Files in your models folder are found by name; any other file is given by its path, as in
    --set checkpoint=PATH.
    """
    del debug
    from rich.box import SIMPLE
    from rich.table import Table

    from napari_fundus.checkpoints import list_checkpoints, models_folder

    found = list_checkpoints()
    if as_json:
        content = {"models": [_as_json(i) for i in found], "folder": str(models_folder())}
        echo(json.dumps(content, indent=2))
        return
    if found:
        table = Table(box=SIMPLE, pad_edge=False)
        for column in ("name", "detector", "finds", "from", "MB", "figures", "trained on"):
            table.add_column(column, no_wrap=column == "name")
        for info in found:
            card = info.card
            table.add_row(
                plain(info.name),
                plain(info.detector),
                plain(" ".join(card.lesions)) if card else "",
                info.origin,
                f"{info.size / 1e6:.1f}",
                plain(info.problem) if info.problem else _metrics(card.metrics if card else {}),
                plain(card.data) if card else "",
            )
        stdout_console().print(table)
    else:
        echo("There are no weights yet.")
    echo(f"Your own go into {models_folder()}; `napari-fundus train` makes some.")


def _metrics(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {metrics[name]:.3f}" for name in _SHOWN if name in metrics)


def _as_json(info: CheckpointInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "detector": info.detector,
        "origin": info.origin,
        "path": None if info.path is None else str(info.path),
        "size": info.size,
        "problem": info.problem,
        "card": None if info.card is None else info.card.model_dump(mode="json"),
    }
