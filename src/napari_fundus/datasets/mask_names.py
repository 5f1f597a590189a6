"""Which files and folders hold masks, as their names tell.

Folders are told by the words in their names: `masks`, `Microaneurysms_Masks`, `labels`, `vessel`,
`GT`, `Ground truth`, `1st_manual`; the innermost folder that tells counts, and one like `images` or
`Original_Images` holds photographs. Files are told by the ending of their names: `eye_mask.png`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from napari_fundus.lesions import Lesion, parse_lesion

_MASK = frozenset(("mask", "label", "gt", "groundtruth", "truth", "annotation", "vessel"))
"""Words of which one suffices to say that a folder holds masks."""

_MASK_ALONE = frozenset(("segmentation", "seg", "manual", "av"))
"""Words that say so where no other word stands beside them but those of `_BESIDE`."""

_BESIDE = frozenset(
    ("ground", "st", "nd", "set", "train", "training", "val", "valid", "test", "testing")
)
_IMAGE = frozenset(("image", "img", "original", "photo", "photograph", "fundus"))
_MAPLES_DR = frozenset(("opticcup", "drusens", "brightuncertains", "reduncertains"))
"""Folders of MAPLES-DR, whose names are like no other's."""

_BOTH = frozenset(("and", "with"))

_ENDING = re.compile(
    r"[ _.-]+(masks?|gts?|ground[ _-]?truths?|segmentations?)$"
    r"|[ _.-]+(labels?|annotations?|vessels?|seg|manual[12]?|1stHO|2ndHO|AV)$",
    re.IGNORECASE,
)
"""Endings of the names of masks: those that suffice, and those that need a file without them."""


def _words(name: str) -> list[str]:
    """Return the words of a name, split at capitals, digits and punctuation, in lower case."""
    return [w.casefold() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def _known(word: str) -> str:
    """Return a word in the singular, where that is one that is looked for."""
    single = word.removesuffix("s")
    return single if single in _MASK | _MASK_ALONE | _IMAGE else word


def _holds_masks(name: str) -> bool | None:
    """Tell whether a folder of this name holds masks or photographs; None where it says neither."""
    if name.casefold() in _MAPLES_DR:
        return True
    words = {_known(word) for word in _words(name)}
    of_images = bool(words & _IMAGE)
    if words & _MASK:
        return None if of_images and words & _BOTH else True
    if words & _MASK_ALONE and words <= _MASK_ALONE | _BESIDE:
        return True
    return False if of_images else None


def is_mask_place(folders: Sequence[str]) -> bool:
    """Tell whether a file in these folders, the outermost first, is a mask by where it lies.

    Examples
    --------
    >>> [is_mask_place(place) for place in (["masks", "EX"], ["labels", "images"], ["left"])]
    [True, False, False]
    """
    told = (_holds_masks(name) for name in reversed(folders))
    return next((masks for masks in told if masks is not None), False)


def class_of_folder(name: str) -> Lesion | None:
    """Return the class whose masks a folder of this name holds, or None.

    Examples
    --------
    >>> class_of_folder("HardExudate_Masks"), class_of_folder("1. Microaneurysms")
    (<Lesion.EX: 'EX'>, <Lesion.MA: 'MA'>)
    """
    return parse_lesion(name) or parse_lesion(
        " ".join(w for w in _words(name) if _known(w) not in _MASK | _MASK_ALONE)
    )


def without_mask_ending(stem: str, stems: Iterable[str]) -> str | None:
    """Return the stem of the image that a mask's name speaks of; None if it is no mask's name.

    Parameters
    ----------
    stem
        The file's own.
    stems
        Those of all files, in lower case: some endings count only where an image has the rest.
    """
    found = _ENDING.search(stem)
    if found is None or not found.start():
        return None
    rest = stem[: found.start()]
    return rest if found[1] or rest.casefold() in stems else None


def class_endings(stem: str) -> Iterator[tuple[str, Lesion]]:
    """Yield each way to read a stem as the name of an image, in lower case, and that of a class."""
    for cut in re.finditer(r"[ _.-]+", stem):
        lesion = parse_lesion(stem[cut.end() :])
        if lesion is not None and cut.start() > 0:
            yield stem[: cut.start()].casefold(), lesion
