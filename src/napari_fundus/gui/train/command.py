"""A training as the command line that does the same."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from napari_fundus.errors import FundusError

if TYPE_CHECKING:
    from napari_fundus.gui.train.session import RunRequest


def training_command(request: RunRequest) -> str:
    """Return the line to be given to a shell.

    Raises
    ------
    FundusError
        The data are layers, which no command can read.
    """
    if request.layers is not None:
        raise FundusError(
            "The data are open layers, which no command can read. Save them as corrections (in "
            "Review), and choose that folder."
        )
    config = request.config
    arguments = ["napari-fundus", "train", config.detector, "--data", config.data]
    for option, value in (
        ("--output", str(request.folder)),
        ("--healthy", config.healthy),
        ("--checkpoint", config.checkpoint),
        ("--name", config.name),
        ("--device", config.device.replace("auto", "")),
    ):
        arguments += [option, value] if value else []
    for name, value in config.settings.items():
        arguments += ["--set", f"{name}={_format_setting(value)}"]
    arguments += ["--resume"] * config.resume + ["--overwrite"] * config.overwrite
    return shlex.join(arguments)


def _format_setting(value: Any) -> str:
    """Return a value as ``--set`` reads it: JSON, but text as it is where JSON is not tried."""
    if isinstance(value, str) and value[:1] not in ("[", "{", '"') and value != "null":
        return value
    return json.dumps(value, default=list)
