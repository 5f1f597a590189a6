"""The contract that every detector fulfils, built-in or third-party."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_fundus._version import __version__
from napari_fundus.errors import DetectorError, DeviceError, OptionsError
from napari_fundus.image import FundusImage
from napari_fundus.plugin_hooks import ENTRY_POINT_GROUP, hookimpl
from napari_fundus.preprocessing.retina_check import check_retina
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.results.objects import LesionObject, clip_objects
from napari_fundus.runtime.devices import CPU, Device, choose_device, is_lost
from napari_fundus.runtime.progress import Monitor
from napari_fundus.runtime.text import check_class_codes, escape_surrogates

__all__ = [
    "ENTRY_POINT_GROUP",
    "Detector",
    "DetectorOptions",
    "DeviceSupport",
    "Prediction",
    "TrainingSpec",
    "checkpoint_field",
    "coerce_options",
    "hookimpl",
]


class DetectorOptions(BaseModel):
    """Base of every detector's options.

    Each field's title, description, bounds and default make the form in napari, the flags on the
    command line and the saved JSON, so that they cannot drift apart. Subclasses may override the
    defaults of the two fields here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5,
        title="Threshold",
        description="Pixels at or above this probability belong to a lesion.",
    )
    min_area: Annotated[int, Field(ge=1, le=100_000)] = Field(
        1,
        title="Minimum area",
        description="Smaller lesions are left out (pixels of the original image).",
        json_schema_extra={"unit": "px"},
    )


def checkpoint_field(default: str, *, detector: str) -> Any:
    """Return the field of an option that names weights; the form lists those of `detector`."""
    return Field(
        default,
        min_length=1,
        title="Weights",
        description="Name of a checkpoint, or path of its file.",
        json_schema_extra={"checkpoint_of": detector},
    )


@dataclass(frozen=True)
class DeviceSupport:
    """Whether a detector can use a device, and if not, why."""

    ok: bool
    reason: str = ""


@dataclass(frozen=True)
class TrainingSpec:
    """What a training of a detector takes beside the settings that all trainings share.

    Attributes
    ----------
    options
        Model of the method's own settings.
    defaults
        Shared settings that serve the method better than their own defaults.
    fixed_by_checkpoint
        Fields of `options` that are those of the weights where a training starts from some, and
        cannot be set then.
    defaults_from_checkpoint
        Fields that are those of the weights unless they are set.
    schemes_unsupported_reason
        Why the weights can only be trained all together; empty where some may stay frozen.
    required_annotations
        What must be known of the images of a data set.
    """

    options: type[BaseModel]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    fixed_by_checkpoint: frozenset[str] = frozenset()
    defaults_from_checkpoint: frozenset[str] = frozenset()
    schemes_unsupported_reason: str = ""
    required_annotations: Literal["lesions", "grades"] = "lesions"


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a detector's own code returns: the raw maps, in original pixels.

    Attributes
    ----------
    probability
        Class code to float32 map, shape (H, W), values in [0, 1].
    heatmap
        Class code to float32 map of where a classifier looked.
    stages
        Title to float32 map that the method made on its way, to be looked at.
    image_score
        Name to score of the whole image, in [0, 1].
    field_of_view
        bool, shape (H, W); the maps are set to 0 outside it.
    thresholds
        Class code to threshold, where a class needs another than ``options.threshold``.
    has_boxes
        Whether boxes are part of the method's own result.
    checkpoint, checkpoint_sha256
        Which weights were used.
    precision
        Arithmetic used, as torch names it.
    objects
        Lesions that the method itself separates, in original pixels, also those below the
        threshold; each class of theirs has a map too, such as
        `napari_fundus.results.objects.score_maps` makes. None where lesions are read from the maps.
    """

    probability: Mapping[str, npt.NDArray[np.float32]]
    heatmap: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    stages: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    image_score: Mapping[str, float] = field(default_factory=dict)
    field_of_view: npt.NDArray[np.bool_] | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    has_boxes: bool = False
    checkpoint: str | None = None
    checkpoint_sha256: str | None = None
    precision: str = "float32"
    objects: Sequence[LesionObject] | None = None


class Detector(ABC):
    """A method that finds lesions.

    A subclass states what it is in the class attributes and does its work in :meth:`predict`;
    callers use :meth:`detect`, which checks options, chooses the device, and adds thresholds,
    table and provenance.

    Attributes
    ----------
    name
        Stable id: lower-case letters, digits and underscores.
    title, summary
        One line each, for lists and forms.
    lesions
        Codes of the classes that it finds.
    version
        Changes when the same options give other numbers.
    licence, reference
        Licence of code and weights; the paper, as DOI or citation.
    devices
        Kinds of device that it can use.
    Options
        The options' model.
    search_ranges
        Settings of the training that a search varies unless asked otherwise, as
        `napari_fundus.training.search.ranges.SearchRange` reads them.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    lesions: ClassVar[tuple[str, ...]]
    version: ClassVar[str] = "1"
    licence: ClassVar[str] = ""
    reference: ClassVar[str] = ""
    devices: ClassVar[frozenset[str]] = frozenset({"cpu"})
    Options: ClassVar[type[DetectorOptions]] = DetectorOptions
    search_ranges: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def predict(
        self, image: FundusImage, options: Any, *, device: Device, monitor: Monitor
    ) -> Prediction:
        """Return the maps of `image`.

        Pure: no file is written, no viewer touched. Call ``monitor.step(fraction, message)`` at
        least once a batch, so that progress shows and cancelling works.

        Parameters
        ----------
        image
            The photograph; its pixels are read-only.
        options
            An instance of the class's own `Options`.
        device
            Where to compute.
        monitor
            Takes progress; raises `Cancelled` when the user stops the run.
        """

    def supports(self, device: Device) -> DeviceSupport:
        """Say whether `device` can be used."""
        if device.kind in self.devices:
            return DeviceSupport(ok=True)
        kinds = " or ".join(sorted(self.devices))
        return DeviceSupport(ok=False, reason=f"{self.title} runs on {kinds} only.")

    def weights_sha256(self, options: Any) -> str | None:
        """Return the hash of the weights that `options` ask for, without loading them.

        Batch runs compare it with ``Prediction.checkpoint_sha256`` to tell what must be done anew.
        Detectors without weights need not override it.
        """
        del options
        return None

    def detect(
        self,
        image: FundusImage,
        options: DetectorOptions | Mapping[str, Any] | None = None,
        *,
        device: str = "auto",
        monitor: Monitor | None = None,
    ) -> Detections:
        """Find lesions in `image`.

        Parameters
        ----------
        image
            The photograph.
        options
            The detector's options, or a mapping of the fields that differ from their defaults.
        device
            ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``. Where a GPU that "auto"
            chose stops to answer, the image is done anew on the CPU.
        monitor
            Takes progress and may cancel.

        Raises
        ------
        OptionsError
            An option is unknown or out of bounds.
        DeviceError
            The device cannot be used, or one that was named stopped to answer.
        NoFieldOfViewError
            The image shows no disc.
        DetectorError
            The detector broke its contract.
        Cancelled
            The run was cancelled.
        """
        chosen_options = coerce_options(self.Options, options)
        chosen_device = choose_device(device, supported=self.devices)
        monitor = monitor or Monitor()
        monitor.step(0.0, "starting")
        start = time.perf_counter()
        try:
            prediction = self.predict(image, chosen_options, device=chosen_device, monitor=monitor)
        except RuntimeError as error:
            if not is_lost(chosen_device, error):
                raise
            if device != "auto" or "cpu" not in self.devices:
                raise DeviceError(
                    f"{chosen_device.title} no longer answers: {str(error).partition(chr(10))[0]}. "
                    "Start the program again once it works, or run on the CPU."
                ) from error
            monitor.step(0.0, f"{chosen_device.title} no longer answers: again on the CPU")
            chosen_device = CPU
            prediction = self.predict(image, chosen_options, device=CPU, monitor=monitor)
        if not isinstance(prediction, Prediction):
            raise DetectorError(
                f"{self.name}.predict returned {type(prediction).__name__}, not a Prediction."
            )
        _check_prediction(prediction, self.title)
        seconds = time.perf_counter() - start
        thresholds = {
            code: prediction.thresholds.get(code, chosen_options.threshold)
            for code in prediction.probability
        }
        result = Detections(
            provenance=Provenance(
                detector=self.name,
                detector_version=self.version,
                package_version=__version__,
                checkpoint=prediction.checkpoint,
                checkpoint_sha256=prediction.checkpoint_sha256,
                options=chosen_options.model_dump(mode="json"),
                device=chosen_device.name,
                precision=prediction.precision,
                seconds=round(seconds, 3),
                # Names of files need not be Unicode, as JSON and tables must.
                image_name=escape_surrogates(image.name),
                image_path=escape_surrogates(str(image.path)) if image.path else None,
                image_sha256=image.sha256,
                image_perceptual=image.identity.perceptual,
                image_shape=image.shape,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                warnings=check_retina(image, prediction.field_of_view),
            ),
            probability=_inside(prediction.probability, prediction.field_of_view),
            thresholds=thresholds,
            min_area=chosen_options.min_area,
            heatmap=_inside(prediction.heatmap, prediction.field_of_view),
            stages=_inside(prediction.stages, prediction.field_of_view),
            image_score=dict(prediction.image_score),
            field_of_view=prediction.field_of_view,
            has_boxes=prediction.has_boxes,
            objects=tuple(prediction.objects or ()),
        )
        if result.objects and prediction.field_of_view is not None:
            inside = clip_objects(result.objects, prediction.field_of_view)
            result = replace(result, objects=inside)
        monitor.step(1.0, "done")
        return result

    @property
    def trainable(self) -> bool:
        """Whether :meth:`train` is implemented."""
        return type(self).train is not Detector.train

    def training_spec(self) -> TrainingSpec | None:
        """Return what :meth:`train` takes, for forms; None where the method does not say."""
        return None

    def train(self, **settings: Any) -> Iterator[Any]:
        """Train on a data set, yielding typed events; detectors without weights have nothing to."""
        raise DetectorError(f"{self.title} has nothing to train.")


def _check_prediction(prediction: Prediction, title: str) -> None:
    """Raise `DetectorError` for classes that cannot be told apart, and for what is not finite."""
    try:
        check_class_codes(dict.fromkeys([*prediction.probability, *prediction.heatmap]))
        check_class_codes(prediction.image_score)
    except ValueError as error:
        raise DetectorError(f"{title} gave classes that cannot be stored: {error}.") from None
    maps = [
        (code, np.asarray(values))
        for kind in (prediction.probability, prediction.heatmap, prediction.stages)
        for code, values in kind.items()
    ]
    bad = [str(c) for c, m in maps if m.size and not np.isfinite([m.min(), m.max()]).all()]
    bad += [name for name, score in prediction.image_score.items() if not np.isfinite(score)]
    bad += [str(o.lesion) for o in prediction.objects or () if not np.isfinite(o.score)]
    if bad:
        raise DetectorError(
            f"{title} gave values that are not finite for {', '.join(dict.fromkeys(bad))}: nothing "
            "can be said of this photograph. Weights that are damaged or diverged do this."
        )


def coerce_options(
    model: type[DetectorOptions], options: DetectorOptions | Mapping[str, Any] | None
) -> DetectorOptions:
    """Return `options` as an instance of `model`.

    Raises
    ------
    OptionsError
        A field is unknown or out of bounds; the message names field, value and what is allowed.
    """
    if isinstance(options, model):
        return options
    if isinstance(options, DetectorOptions):
        raise OptionsError(
            f"These are {type(options).__qualname__}; this detector takes {model.__qualname__}."
        )
    try:
        return model.model_validate(dict(options or {}))
    except ValidationError as error:
        raise OptionsError(_explain(error, model)) from None


def _explain(error: ValidationError, model: type[BaseModel]) -> str:
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"]) or "options"
        if problem["type"] == "extra_forbidden":
            lines.append(f"Unknown option {where!r}; there are {', '.join(model.model_fields)}.")
        else:
            lines.append(f"Option {where!r} = {problem['input']!r}: {problem['msg']}.")
    return " ".join(lines)


def _inside(
    maps: Mapping[str, npt.NDArray[np.float32]], field_of_view: npt.NDArray[np.bool_] | None
) -> dict[str, npt.NDArray[np.float32]]:
    """Return read-only maps that are 0 outside the field of view."""
    result: dict[str, npt.NDArray[np.float32]] = {}
    for code, array in maps.items():
        if field_of_view is not None:
            array = np.where(field_of_view, array, np.float32(0))
        view = array.view()
        view.flags.writeable = False
        result[str(code)] = view
    return result
