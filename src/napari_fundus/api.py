"""The functions that window, command line, batch runner, scripts and notebooks all call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_fundus.defaults import DEFAULT_DETECTOR
from napari_fundus.detections import Detections
from napari_fundus.image import FundusImage, read_image
from napari_fundus.monitor import Monitor
from napari_fundus.plugins import get_detector

__all__ = ["as_image", "detect"]


def as_image(source: Any) -> FundusImage:
    """Return `source` as an image.

    Parameters
    ----------
    source
        A `FundusImage`, a path, an array, or a napari image layer (its largest scale).

    Raises
    ------
    ImageReadError
        It cannot be understood as a photograph.
    """
    if isinstance(source, FundusImage):
        return source
    if isinstance(source, str | Path):
        return read_image(source)
    if hasattr(source, "data") and hasattr(source, "multiscale"):
        data = source.data[0] if source.multiscale else source.data
        return FundusImage.from_array(data, name=source.name)
    return FundusImage.from_array(source)


def detect(
    source: Any,
    detector: str = DEFAULT_DETECTOR,
    *,
    device: str = "auto",
    monitor: Monitor | None = None,
    **options: Any,
) -> Detections:
    """Find lesions in one image.

    Parameters
    ----------
    source
        A path, an array, a `FundusImage` or a napari image layer.
    detector
        Name of an installed detector; ``napari-fundus detectors`` lists them.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``.
    monitor
        Takes progress and may cancel.
    **options
        Fields of the detector's options that differ from their defaults.

    Returns
    -------
    Detections
        Maps, labels, table of lesions and provenance.

    Examples
    --------
    >>> import napari_fundus as nf
    >>> result = nf.detect(nf.sample_image_path(), "tophat", threshold=0.8)
    >>> sorted(result.labels)
    ['EX', 'HE', 'MA']
    """
    return get_detector(detector).detect(as_image(source), options, device=device, monitor=monitor)
