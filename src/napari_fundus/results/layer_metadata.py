"""What this package keeps in ``layer.metadata``, and the pixels of a layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["METADATA_KEY", "as_array"]

METADATA_KEY = "napari_fundus"
"""Key in ``layer.metadata`` under which everything that this package knows of a layer stands."""


def as_array(data: Any) -> npt.NDArray[Any]:
    """Return the full-size pixels of a layer's data, multiscale or lazy."""
    return np.asarray(data[0] if isinstance(data, list | tuple) else data)
