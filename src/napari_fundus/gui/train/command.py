"""A training as the command line that does the same."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from napari_fundus.errors import FundusError

if TYPE_CHECKING:
    from napari_fundus.gui.train.session import RunRequest

__all__ = ["training_command"]


def training_command(plan: RunRequest) -> str:
    """Return the line to be given to a shell.

    Raises
    ------
    FundusError
        The data are layers, which no command can read.
    """
    if plan.layers is not None:
        raise FundusError(
            "The data are open layers, which no command can read. Save them as corrections (in "
            "Review), and choose that folder."
        )
    flags = ["--resume"] * plan.resume + ["--overwrite"] * plan.overwrite
    return shlex.join(["napari-fundus", *plan.order.words(plan.folder), *flags])
