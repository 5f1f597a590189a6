"""The functions that window, command line, batch runner, scripts and notebooks all call."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_fundus.datasets import Sample
from napari_fundus.defaults import DEFAULT_DETECTOR
from napari_fundus.errors import OptionsError, TrainingError
from napari_fundus.image import FundusImage, read_image
from napari_fundus.image_identity import ImageIdentity
from napari_fundus.plugins import get_detector
from napari_fundus.results.detections import Detections
from napari_fundus.results.layer_metadata import layer_identity, layer_metadata
from napari_fundus.results.same_photograph import photograph_doubt, require_same_photograph
from napari_fundus.runtime.native_libraries import isolate_triton_llvm
from napari_fundus.runtime.progress import Monitor

if TYPE_CHECKING:
    from napari_fundus.evaluation.agreement import Agreement
    from napari_fundus.evaluation.assessment import Assessment
    from napari_fundus.training.loop.events import Best, TrainingEvent


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
        # Where there is a layer there is a window, and a network may be about to be loaded.
        isolate_triton_llvm()
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


def evaluate(result: Any, truth: Any, *, allow_other_photograph: bool = False) -> Assessment:
    """Judge a result by what experts drew in the same image.

    Parameters
    ----------
    result
        A `Detections`, or a layer that shows one.
    truth
        Class code to mask (bool or labels, shape (H, W)); a sample of a data set; or labels layers
        that show a truth, one or several.
    allow_other_photograph
        Whether the truth may be of another photograph than the result, as far as that is known:
        samples and layers carry the hash of their photograph, bare masks do not.

    Returns
    -------
    Assessment
        Figures of each class and lists of the lesions; prints as a table.

    Raises
    ------
    OptionsError
        There is no result or no truth in what was given, or no class stands in both.
    OtherPhotographError
        The truth is of another photograph.

    Examples
    --------
    >>> import napari_fundus as nf
    >>> result = nf.detect(nf.sample_image_path(), "tophat")
    >>> (sample,) = nf.open_dataset(nf.sample_image_path().parent)
    >>> int(nf.evaluate(result, sample).row("MA")["lesions"])
    125
    """
    from napari_fundus.evaluation.assessment import assess

    detections = as_detections(result)
    truth = list(truth) if isinstance(truth, Iterator) else truth
    if not allow_other_photograph:
        _check_truth("the result", detections, truth)
    return assess(detections, as_masks(truth, detections.shape))


def compare(
    a: Any, b: Any, *, truth: Any = None, allow_other_photograph: bool = False
) -> Agreement:
    """Compare two results on one image, lesion by lesion.

    Parameters
    ----------
    a, b
        As `result` of :func:`evaluate`.
    truth
        As of :func:`evaluate`, where there is one that shall judge both.
    allow_other_photograph
        Whether the three may be of different photographs.

    Raises
    ------
    OptionsError
        As :func:`evaluate`.
    OtherPhotographError
        The results, or a result and the truth, are of different photographs.
    """
    from napari_fundus.evaluation import agreement

    one, other = as_detections(a), as_detections(b)
    truth = list(truth) if isinstance(truth, Iterator) else truth
    if not allow_other_photograph:
        photographs = one.provenance.image, other.provenance.image
        require_same_photograph("A", photographs[0], "B", photographs[1])
        _warn_of_doubt(photograph_doubt("A", photographs[0], "B", photographs[1]))
        if truth is not None:
            _check_truth("A", one, truth)
    masks = None if truth is None else as_masks(truth, one.shape)
    return agreement.compare(one, other, truth=masks)


def _check_truth(what: str, detections: Detections, truth: Any) -> None:
    """Raise where a truth is of another photograph; warn where its layers do not tell."""
    if isinstance(truth, Mapping):
        return
    photograph = detections.provenance.image
    for found in _photographs_of(truth):
        require_same_photograph(what, photograph, "the truth", found)
        _warn_of_doubt(photograph_doubt(what, photograph, "the truth", found))


def _photographs_of(truth: Any) -> list[ImageIdentity | None]:
    if isinstance(truth, Sample):
        return [truth.identity()]
    layers = list(truth) if isinstance(truth, Iterable) else [truth]
    return [layer_identity(x) for x in layers if layer_metadata(x).kind == "truth"]


def _warn_of_doubt(doubt: str) -> None:
    if doubt:
        warnings.warn(doubt, UserWarning, stacklevel=4)


def as_detections(result: Any) -> Detections:
    """Return `result`, or the one that a layer shows.

    Raises
    ------
    OptionsError
        It is neither.
    """
    if isinstance(result, Detections):
        return result
    if (found := layer_metadata(result).detections) is not None:
        return found
    raise OptionsError(
        f"{type(result).__name__} is no result: give what detect() returned, or a layer of it."
    )


def as_masks(truth: Any, shape: tuple[int, int]) -> dict[str, npt.NDArray[Any]]:
    """Return a truth as masks by class: of a mapping, a sample, or labels layers.

    Parameters
    ----------
    truth
        As of :func:`evaluate`.
    shape
        Height and width of the image.

    Raises
    ------
    OptionsError
        It is none of these, or a mask is of another size.
    """
    if isinstance(truth, Mapping):
        masks = {str(code): np.asarray(mask) for code, mask in truth.items()}
    elif isinstance(truth, Sample):
        masks = {str(code): truth.mask(code, shape) for code in sorted(truth.annotated)}
    else:
        layers = list(truth) if isinstance(truth, Iterable) else [truth]
        known = [(layer_metadata(layer), layer) for layer in layers]
        masks = {
            metadata.lesion: np.asarray(layer.data)
            for metadata, layer in known
            if metadata.kind == "truth" and metadata.lesion is not None
        }
    if not masks:
        raise OptionsError(
            f"{type(truth).__name__} holds no truth: give masks by class, such as {{'MA': mask}}, "
            "a sample of a data set, or the layers of the experts' masks."
        )
    for code, mask in masks.items():
        if mask.shape != shape:
            raise OptionsError(f"The mask of {code} has shape {mask.shape}, the image {shape}.")
    return masks


def train(
    detector: str,
    data: str | Path,
    output: str | Path,
    *,
    checkpoint: str | Path | None = None,
    device: str = "auto",
    monitor: Monitor | None = None,
    resume: bool = False,
    overwrite: bool = False,
    follow: Callable[[TrainingEvent], Any] | None = None,
    **settings: Any,
) -> Best:
    """Train a detector and return its best weights.

    Parameters
    ----------
    detector
        Name of an installed detector that can be trained.
    data
        Folder of a data set.
    output
        Folder of the run.
    checkpoint
        Weights to start from: a name or a path; None for fresh ones.
    device
        As of :func:`detect`.
    monitor
        Takes progress and may cancel.
    resume
        Resume the run in `output`, if there is one.
    overwrite
        Replace a run that is in `output`.
    follow
        Is called with every event of the training, such as ``print``.
    **settings
        Of the training, where they differ from the defaults: ``scheme="interleaved"``,
        ``max_epochs=3``.

    Returns
    -------
    Best
        Path of the best weights, epoch and metrics.

    Raises
    ------
    TrainingError
        It cannot start or go on as asked, or no epoch was finished.

    Examples
    --------
    Fine-tune the weights that are installed, and use those of the best epoch::

        best = nf.train(
            "voting", "/data/IDRiD", "my-run", checkpoint="voting-idrid", scheme="interleaved"
        )
        nf.detect("eye.jpg", "voting", checkpoint=str(best.path))
    """
    from napari_fundus.training.jobs.config import TrainingConfig
    from napari_fundus.training.jobs.worker import run_training
    from napari_fundus.training.loop.events import Finished

    config = TrainingConfig(
        detector=detector,
        data=str(Path(data).resolve()),
        checkpoint=None if checkpoint is None else str(checkpoint),
        settings=settings,
        device=device,
        resume=resume,
        overwrite=overwrite,
    )
    best: Best | None = None
    for event in run_training(config, output, monitor=monitor or Monitor()):
        if follow is not None:
            follow(event)
        if isinstance(event, Finished):
            best = event.best
    if best is None:
        raise TrainingError(f"The training of {detector!r} ended without weights.")
    return best
