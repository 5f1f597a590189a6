"""What can be evaluated or compared: the results and the truths among the viewer's layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox
from superqt.utils import signals_blocked

from napari_fundus.gui.controls.connections import Connections
from napari_fundus.gui.controls.layouts import shrink_combo
from napari_fundus.gui.layers.event_loop import single_shot_timer
from napari_fundus.image_identity import ImageIdentity
from napari_fundus.results.layer_metadata import (
    METADATA_KEY,
    LayerMetadata,
    layer_identity,
    layer_metadata,
    lesion_in_name,
)
from napari_fundus.results.live import LiveResult
from napari_fundus.results.same_photograph import photograph_doubt, photograph_mismatch

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


@dataclass(frozen=True, eq=False)
class LayerGroup:
    """Labels layers that belong together: one result, or one truth.

    Attributes
    ----------
    key
        Tells it from others, and stays when layers are renamed.
    title
        For people.
    labels
        Class code to layer.
    others
        Further layers of a result: maps, boxes, landmarks.
    photograph
        What the lesions were found in, where a review asked for it and it is in the viewer.
    """

    key: tuple[Any, ...]
    title: str
    labels: dict[str, Labels]
    others: tuple[Layer, ...] = ()
    photograph: Image | None = None

    @property
    def layers(self) -> list[Layer]:
        """All layers of it."""
        return [*self.labels.values(), *self.others]

    @property
    def layer_ids(self) -> tuple[int, ...]:
        """Identities of the labels layers; other than `key` they change with the layers."""
        return tuple(id(layer) for layer in self.labels.values())

    @property
    def provenance(self) -> dict[str, Any]:
        """Provenance of the run, as plain values; empty for a truth."""
        return dict(layer_metadata(next(iter(self.labels.values()))).provenance)

    @property
    def detector(self) -> str:
        """Name of the detector; empty for a truth."""
        return str(self.provenance.get("detector", ""))

    @property
    def live(self) -> LiveResult | None:
        """The result itself; None for a truth, and for labels of which no maps are kept."""
        return next(
            (x for layer in self.labels.values() if (x := layer_metadata(layer).live)), None
        )

    def change_signals(self) -> list[Any]:
        """Return the signals that are emitted when other lesions are shown, or some are painted."""
        signals = [layer.events.paint for layer in self.labels.values()]
        if (live := self.live) is not None:
            signals += [live.shown_changed, live.edited_changed]
        return signals

    @property
    def source(self) -> Any:
        """The image layer of the photograph; None where that is not known."""
        sources = (layer_metadata(layer).source for layer in self.labels.values())
        return next((x for x in sources if x is not None), None)

    @property
    def identity(self) -> ImageIdentity | None:
        """The photograph that the lesions are of; None where nothing tells."""
        return layer_identity(next(iter(self.labels.values())))

    @property
    def shape(self) -> tuple[int, ...]:
        """Height and width in pixels."""
        return tuple(next(iter(self.labels.values())).data.shape)


def list_results(viewer: ViewerModel) -> list[LayerGroup]:
    """Return the results among the layers, the uppermost first.

    Results of a stack are left out: what is drawn over them would lie over all of its slices.
    """
    groups: dict[tuple[Any, ...], list[Layer]] = {}
    for layer in reversed(viewer.layers):
        metadata = layer_metadata(layer)
        if metadata.provenance and metadata.stack is None:
            groups.setdefault(_result_key(metadata), []).append(layer)
    choices = []
    for key, layers in groups.items():
        labels = _by_class(layers)
        if labels:
            others = tuple(x for x in layers if x not in labels.values())
            choices.append(LayerGroup(key, _result_title(layers[0]), labels, others))
    return _with_unique_titles(choices)


def list_truths(viewer: ViewerModel) -> list[LayerGroup]:
    """Return the truths among the layers: the experts' masks, and labels that a person drew.

    Labels of no known origin count if they are named after a class, as in "my MA" or "exudates".
    Those of two photographs are two truths, even if both photographs have one name.
    """
    groups: dict[tuple[Any, ...], dict[str, Labels]] = {}
    for layer in reversed(viewer.layers):
        metadata = layer_metadata(layer)
        if not isinstance(layer, Labels) or layer.ndim != 2:
            continue
        prefix, _, rest = layer.name.rpartition(": ")
        if metadata.kind == "truth" and metadata.lesion is not None:
            photograph = layer_identity(layer)
            content = "" if photograph is None else photograph.sha256 or photograph.perceptual
            groups.setdefault(("experts", prefix, content), {}).setdefault(metadata.lesion, layer)
        elif METADATA_KEY not in layer.metadata and (code := lesion_in_name(rest)) is not None:
            groups.setdefault(("drawn", prefix, ""), {}).setdefault(code, layer)
    choices = []
    for (kind, prefix, content), labels in groups.items():
        name = "Experts' masks" if kind == "experts" else "Drawn labels"
        title = f"{name} · {prefix}" if prefix else name
        choices.append(LayerGroup((kind, prefix, content), title, dict(reversed(labels.items()))))
    return _with_unique_titles(choices)


def incompatibility(what: str, one: LayerGroup, other_what: str, other: LayerGroup) -> str:
    """Return why two groups cannot be compared; empty if they can.

    Parameters
    ----------
    what, other_what
        What they are called, such as "the result" and "the truth".
    one, other
        The groups.
    """
    if reason := photograph_mismatch(what, one.identity, other_what, other.identity):
        return f"{reason} Choose two of one photograph."
    if one.shape != other.shape:
        return f"They are of different images: {one.shape} and {other.shape} pixels."
    if not set(one.labels) & set(other.labels):
        return (
            f"No class stands in both: {what} has {', '.join(one.labels)}, {other_what} "
            f"{', '.join(other.labels)}."
        )
    return ""


def doubt(what: str, one: LayerGroup, other_what: str, other: LayerGroup) -> str:
    """Return a warning where nothing tells whether two groups are of one photograph."""
    found = photograph_doubt(what, one.identity, other_what, other.identity)
    return f"⚠ {found}" if found else ""


def lesion_layers(viewer: ViewerModel, over: Labels) -> list[Layer]:
    """Return the layers that show lesions of the size of `over`: found, boxed or true.

    Those of other photographs count too: over this one they would mislead even more.
    """
    drawn = [layer for choice in list_truths(viewer) for layer in choice.labels.values()]
    shape = tuple(over.data.shape)
    return [
        layer
        for layer in viewer.layers
        if layer in drawn or layer_metadata(layer).kind in ("labels", "boxes", "heatmap")
        if not isinstance(layer, Labels) or tuple(layer.data.shape) == shape
    ]


def _by_class(layers: Iterable[Layer]) -> dict[str, Labels]:
    found: dict[str, Labels] = {}
    for layer in layers:
        metadata = layer_metadata(layer)
        if isinstance(layer, Labels) and metadata.kind == "labels":
            found.setdefault(str(metadata.lesion), layer)
    return dict(reversed(found.items()))


def _result_key(known: LayerMetadata) -> tuple[Any, ...]:
    names = ("detector", "checkpoint_sha256", "created", "seconds", "image_sha256", "image_name")
    return (id(known.source), *(known.provenance.get(name) for name in names))


def _result_title(layer: Layer) -> str:
    ran = layer_metadata(layer).provenance
    weights = ran.get("checkpoint")
    return f"{ran['detector']}{f' ({weights})' if weights else ''} · {ran['image_name']}"


def _with_unique_titles(choices: Sequence[LayerGroup]) -> list[LayerGroup]:
    """Add the time where titles are the same, and a number where that is the same too."""
    result: list[LayerGroup] = []
    for choice in choices:
        title = choice.title
        if sum(other.title == choice.title for other in choices) > 1:
            created = choice.provenance.get("created", "")
            title += f" · {created[11:19]}" if created else ""
        same = sum(other.title.split(" #")[0] == title for other in result)
        if same:
            title += f" #{same + 1}"
        result.append(replace(choice, title=title))
    return result


class LayerGroupCombo(QComboBox):
    """A list of choices that follows the viewer's layers and keeps what was chosen.

    Parameters
    ----------
    viewer
        Whose layers.
    find
        Lists the choices.
    preferred
        Index that is chosen where nothing was yet, if there are so many.
    """

    chosen = Signal()

    def __init__(
        self,
        viewer: ViewerModel,
        find: Callable[[ViewerModel], list[LayerGroup]],
        *,
        preferred: int = 0,
    ) -> None:
        super().__init__()
        self._viewer, self._find, self._preferred = viewer, find, preferred
        self._choices: list[LayerGroup] = []
        shrink_combo(self)
        self.currentIndexChanged.connect(lambda _: self.chosen.emit())
        # A result comes as many layers: they are looked at once, when the last is there.
        self._later = single_shot_timer(self, 50, self.refresh)
        self._list_changes, self._layer_changes = Connections(), Connections()
        events = viewer.layers.events
        self._list_changes.connect(self._schedule, events.inserted, events.removed)
        self.refresh()

    def disconnect_viewer(self) -> None:
        """Stop listening to the viewer."""
        self._later.stop()
        self._list_changes.disconnect()
        self._layer_changes.disconnect()

    def _schedule(self, event: Any = None) -> None:
        self._later.start()

    def choice(self) -> LayerGroup | None:
        """Return what is chosen."""
        index = self.currentIndex()
        return self._choices[index] if 0 <= index < len(self._choices) else None

    def choose(self, layers: Layer | Iterable[Layer]) -> bool:
        """Choose what one of `layers` belongs to, and return whether there is such."""
        self.refresh()
        wanted = list(layers) if isinstance(layers, Iterable) else [layers]
        for index, choice in enumerate(self._choices):
            if any(layer in choice.layers for layer in wanted):
                self.setCurrentIndex(index)
                return True
        return False

    def follow(self, photograph: ImageIdentity | None, *, other_than: Any = None) -> None:
        """Choose the first that is of a photograph, unless the present choice may be of it.

        `chosen` is not emitted.

        Parameters
        ----------
        photograph
            The photograph; None changes nothing.
        other_than
            Key of a group that is not to be chosen.
        """
        if photograph is None:
            return
        present = self.choice()
        wanted = [c for c in self._choices if c.key != other_than]
        if present in wanted and photograph.same_photograph(present.identity) is not False:
            return
        for choice in wanted:
            if photograph.same_photograph(choice.identity):
                with signals_blocked(self):
                    self.setCurrentIndex(self._choices.index(choice))
                return

    def refresh(self) -> None:
        """List the choices again; `chosen` is emitted if other layers are chosen now."""
        before, signature = self.choice(), _group_signature(self.choice())
        self._choices = self._find(self._viewer)
        labels = [layer for choice in self._choices for layer in choice.labels.values()]
        # Layers may come to show another result.
        self._layer_changes.disconnect()
        self._layer_changes.connect(self._schedule, *(x.events.metadata for x in labels))
        with signals_blocked(self):
            self.clear()
            for choice in self._choices:
                self.addItem(choice.title)
                self.setItemData(self.count() - 1, choice.title, 3)  # as a tooltip
            index = self._place_of(before)
            if index is not None:
                self.setCurrentIndex(index)
            elif len(self._choices) > self._preferred:
                self.setCurrentIndex(self._preferred)
        if _group_signature(self.choice()) != signature:
            self.chosen.emit()

    def _place_of(self, before: LayerGroup | None) -> int | None:
        """Return where a choice now stands: the same, or another result in its layers."""
        if before is None:
            return None
        keys = [choice.key for choice in self._choices]
        if before.key in keys:
            return keys.index(before.key)
        mine = set(before.layer_ids)
        return next((i for i, c in enumerate(self._choices) if mine & set(c.layer_ids)), None)


def _group_signature(choice: LayerGroup | None) -> tuple[Any, dict[str, int]]:
    """Return what makes a choice another one: its result, and its layers."""
    if choice is None:
        return None, {}
    return choice.key, {code: id(layer) for code, layer in choice.labels.items()}
