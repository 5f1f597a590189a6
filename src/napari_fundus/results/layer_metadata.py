"""What this package keeps in ``layer.metadata``, and the lesions of a single layer as a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from napari_fundus._version import __version__
from napari_fundus.errors import FundusError, ImageReadError
from napari_fundus.image import FundusImage
from napari_fundus.image_identity import ImageIdentity
from napari_fundus.landmarks import Landmarks
from napari_fundus.lesions import parse_lesion
from napari_fundus.results.boxes import DISPLAYED_BOXES, BoxShapes, labels_with_boxes
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.results.edits import apply_edited_labels, same_components
from napari_fundus.results.objects import objects_of_parts, parts_touch
from napari_fundus.results.shown_lesions import ShownLesions, drawn_lesions
from napari_fundus.results.slice_stack import SliceIndex, layer_plane

if TYPE_CHECKING:
    from napari_fundus.results.live import LiveResult

METADATA_KEY = "napari_fundus"
"""Key in ``layer.metadata`` of the `LayerMetadata`."""

METADATA_VERSION = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerMetadata:
    """What this package knows of a layer. To change it, store a changed copy.

    Attributes
    ----------
    kind
        What the layer shows, such as ``"photograph"``, ``"labels"``, ``"boxes"`` or ``"truth"``;
        empty for layers of others.
    lesion
        Code of the class that it shows.
    source
        The image layer of the photograph.
    provenance
        Of the run, as plain values.
    live
        The result that the layer belongs to, the same object for all of its layers.
    landmarks
        Optic disc and fovea of a photograph, as a data set or a person gives them.
    path
        File of a photograph.
    identity
        Of the photograph that the layer shows, or whose lesions it shows.
    index
        Slice of a stack that the layer's result is of; empty for a single photograph.
    stack
        What keeps the results of all slices, where the layer shows those of a stack.
    extra
        What else some kinds of layers have, such as the recipe of a preprocessed image.
    version
        Of this class.
    """

    kind: str = ""
    lesion: str | None = None
    source: Any = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    live: LiveResult | None = None
    landmarks: Landmarks | None = None
    path: str | None = None
    identity: ImageIdentity | None = None
    index: SliceIndex = ()
    stack: Any = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    version: int = METADATA_VERSION

    @property
    def detections(self) -> Detections | None:
        """The result at its present thresholds, without what was drawn by hand."""
        return None if self.live is None else self.live.detections(edits=False)

    @property
    def threshold(self) -> float | None:
        """The present threshold of the class."""
        thresholds = {} if self.live is None else self.live.settings.thresholds
        return thresholds.get(self.lesion or "")


def layer_metadata(layer: Any) -> LayerMetadata:
    """Return what is known of a layer, or of the ``metadata`` of one; of `kind` ``""`` if nothing.

    Plain dictionaries, as another program may have stored them, are read as well.
    """
    metadata = layer if isinstance(layer, Mapping) else getattr(layer, "metadata", None)
    known = metadata.get(METADATA_KEY) if isinstance(metadata, Mapping) else None
    if isinstance(known, LayerMetadata):
        return known
    if not isinstance(known, Mapping):
        return LayerMetadata()
    names = {f.name for f in fields(LayerMetadata)}
    extra = {**known.get("extra", {}), **{k: v for k, v in known.items() if k not in names}}
    return LayerMetadata(**{k: v for k, v in known.items() if k in names} | {"extra": extra})


def layer_identity(layer: Any) -> ImageIdentity | None:
    """Return which photograph a layer shows, or its lesions are of; None where nothing tells.

    Photographs of other programs are looked at, once for each array; stacks are not, since each of
    their slices is a photograph of its own.
    """
    metadata = layer_metadata(layer)
    if metadata.identity is not None:
        return metadata.identity
    if metadata.live is not None:
        return metadata.live.original.provenance.image
    if metadata.provenance:
        try:
            return Provenance.model_validate(metadata.provenance).image
        except ValidationError:
            return None
    if metadata.source is not None:
        return layer_identity(metadata.source)
    return _photograph_identity(layer) if metadata.kind in ("", "photograph") else None


_IDENTITIES: WeakKeyDictionary[Any, tuple[Any, ImageIdentity | None]] = WeakKeyDictionary()
"""Image layer to its array and the photograph's identity."""


def _photograph_identity(layer: Any) -> ImageIdentity | None:
    if not hasattr(layer, "rgb"):
        return None
    data = layer.data[0] if layer.multiscale else layer.data
    known = _IDENTITIES.get(layer)
    if known is not None and known[0] is data:
        return known[1]
    try:
        found = FundusImage.from_array(data, name=layer.name).identity if layer.ndim == 2 else None
    except ImageReadError:
        found = None
    _IDENTITIES[layer] = data, found
    return found


def lesion_in_name(name: str) -> str | None:
    """Return the class in the name of a layer: all of it, its end, or one of its words.

    Examples
    --------
    >>> lesion_in_name("IDRiD_13: hard exudates (experts)"), lesion_in_name("MA of mine")
    ('EX', 'MA')
    """
    name = name.removesuffix(" (experts)")
    words = name.replace(":", " ").replace("_", " ").replace("-", " ").split()
    for part in (name, name.rpartition(":")[2], *words[-1:], *words):
        if (lesion := parse_lesion(part.strip())) is not None:
            return str(lesion)
    return None


def as_array(data: Any) -> npt.NDArray[Any]:
    """Return the full-size pixels of a layer's data, multiscale or lazy."""
    return np.asarray(data[0] if isinstance(data, list | tuple) else data)


def layer_snapshot(layer: Any) -> Callable[[], ShownLesions]:
    """Return a function that gives what a labels layer shows at this moment, maybe in a thread.

    Labels count as they are where no result with maps belongs to the layer: of a result read from a
    file, or of a class that a reviewer added.
    """
    metadata = layer_metadata(layer)
    code = str(metadata.lesion)
    if metadata.live is not None and code in metadata.live.original.lesions:
        return metadata.live.class_snapshot(code)
    return partial(drawn_lesions, np.array(layer_plane(layer, metadata.index)), code)


def detections_from_layer(
    data: Any, meta: Mapping[str, Any], layer_type: str = "labels"
) -> Detections:
    """Return the lesions of one layer as a result, for a writer.

    Parameters
    ----------
    data
        The layer's data: labels of one class, or the boxes of a result.
    meta
        The layer's attributes, as napari gives them to writers.
    layer_type
        napari's name of its type: ``"labels"`` or ``"shapes"``. Lesions are written of no other.

    Returns
    -------
    Detections
        The layer's class alone. Labels and boxes count as they now are; where they differ from what
        the detector found, the provenance says that they were edited. Labels without a provenance
        are reported as drawn by hand.

    Raises
    ------
    FundusError
        The layer shows no lesions that have an extent in pixels.
    """
    name = str(meta.get("name", f"The {layer_type} layer"))
    if layer_type not in ("labels", "shapes"):
        raise FundusError(
            f"{name!r} is a {layer_type} layer: lesions have an extent, so they are written from "
            "labels layers alone, and from the boxes of a result."
        )
    metadata = layer_metadata(meta.get("metadata", {}))
    found, code = metadata.detections, metadata.lesion
    if metadata.index:
        if found is None:
            raise FundusError(
                f"Slice {list(metadata.index)} of {name!r}, which is shown, was not analysed: "
                "there is nothing to write. Move to another slice."
            )
        if layer_type == "labels":
            data = data[metadata.index]
    if found is None or code is None:
        if layer_type == "labels":
            photograph = metadata.identity or ImageIdentity()
            return _drawn_by_hand(data, metadata.lesion or name, name, photograph)
        raise FundusError(
            f"{name!r} carries no result of napari-fundus, and is not a labels layer: nothing can "
            "be written as lesions."
        )
    one = replace(
        found,
        probability={code: found.probability[code]},
        thresholds={code: found.thresholds[code]},
        heatmap={},
        objects=found.objects_of(code),
    )
    if layer_type == "shapes":
        boxes = BoxShapes.of_layer(data, meta, metadata.extra.get(DISPLAYED_BOXES))
        labels = labels_with_boxes(found.labels[code], boxes, name=name)
        return one if labels is found.labels[code] else apply_edited_labels(one, {code: labels})
    labels = as_array(data)
    same = same_components(labels, one.labels[code])
    return one if same else apply_edited_labels(one, {code: labels})


def _drawn_by_hand(data: Any, code: str, name: str, photograph: ImageIdentity) -> Detections:
    labels = as_array(data)
    if labels.ndim != 2 or labels.dtype.kind not in "iub":
        raise FundusError(
            f"{name!r} carries no result of napari-fundus, and is not a two-dimensional labels "
            "layer: nothing can be written as lesions."
        )
    drawn = objects_of_parts(labels, lesion=code)
    return Detections(
        provenance=Provenance(
            detector="by hand",
            detector_version="1",
            package_version=__version__,
            image_name=name,
            image_sha256=photograph.sha256,
            image_perceptual=photograph.perceptual,
            image_shape=(labels.shape[0], labels.shape[1]),
            edited=(code,),
        ),
        probability={code: (labels > 0).astype(np.float32)},
        thresholds={code: 0.5},
        objects=tuple(drawn) if parts_touch(drawn, labels) else (),
    )
