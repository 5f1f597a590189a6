"""Every error that this package raises on purpose: each says what is wrong and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = [
    "Cancelled",
    "CheckpointError",
    "ClusterError",
    "DatasetError",
    "DetectorError",
    "DeviceError",
    "DivergedError",
    "EmptyFileError",
    "ExportError",
    "FundusError",
    "GeometryError",
    "ImageBrokenError",
    "ImageReadError",
    "ImageTooLargeError",
    "ImageTooSmallError",
    "LeakageError",
    "NoFieldOfViewError",
    "NotAFileError",
    "NotAnImageError",
    "OptionsError",
    "OtherPhotographError",
    "OutputExistsError",
    "TrainingError",
    "UnknownDetectorError",
    "UnsupportedImageError",
    "explain_validation",
]


class FundusError(Exception):
    """Base of all errors raised on purpose by napari-fundus."""


class NotAFileError(FundusError, OSError):
    """A path is that of a pipe, a device or a folder, of which reading may never end."""


class Cancelled(FundusError):
    """The user asked a running job to stop; nothing was changed."""


class ImageReadError(FundusError):
    """A file could not be read as a fundus photograph."""


class EmptyFileError(ImageReadError):
    """The file has no content."""


class NotAnImageError(ImageReadError):
    """The file's content is not that of an image format we know."""


class ImageBrokenError(ImageReadError):
    """The file starts as an image, but is truncated or damaged."""


class UnsupportedImageError(ImageReadError):
    """The pixels are of a kind that is not a photograph (complex, volume, …)."""


class ImageTooSmallError(ImageReadError):
    """The image has too few pixels to show a retina."""


class ImageTooLargeError(ImageReadError):
    """The image has more pixels than the limit that guards against decompression bombs."""


class NoFieldOfViewError(FundusError):
    """No illuminated disc was found: the picture is black, uniform or not a fundus photograph."""


class GeometryError(FundusError):
    """A geometric step cannot be built or undone with the values given."""


class DatasetError(FundusError):
    """A folder is not a data set we know, or a part of it that was asked for is missing."""


class OptionsError(FundusError):
    """An option of a detector or a recipe has an unknown name or a value out of bounds."""


class OtherPhotographError(OptionsError):
    """Two results, or a result and a truth, are of different photographs."""


class DetectorError(FundusError):
    """A detector broke its contract or could not do its work."""


class UnknownDetectorError(DetectorError):
    """No detector of that name is installed."""


class DeviceError(FundusError):
    """The device that was asked for cannot be used here."""


class OutputExistsError(FundusError):
    """A file to be written exists already, and overwriting was not asked for."""


class ExportError(FundusError, OSError):
    """A file could not be written: the disk is full or gone, or a library refused the content."""


class CheckpointError(FundusError):
    """A file of weights is missing, damaged, foreign or of another detector; it was not used."""


class ClusterError(FundusError):
    """A Dask cluster cannot be reached, or went away; what was done is kept."""


class TrainingError(FundusError):
    """A training cannot start, go on or be resumed as asked."""


class LeakageError(TrainingError):
    """The same eye is in the training and in the validation part."""


class DivergedError(TrainingError):
    """The loss of a training is no longer finite."""


def explain_validation(error: ValidationError, field: str = "{}") -> str:
    """Return what pydantic refused, such as ``epochs = 0: Input should be positive``."""
    return " ".join(
        f"{field.format('.'.join(map(str, e['loc'])))} = {e['input']!r}: {e['msg']}."
        for e in error.errors()
    )
