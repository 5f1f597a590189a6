"""The vocabulary: lesion classes, their names and colours, and what data sets call them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from napari_fundus.runtime.preferences import preferred_colour


class Lesion(StrEnum):
    """Codes of what is annotated or detected in a fundus photograph.

    Members are strings: ``Lesion.MA == "MA"``, and either works as a dictionary key. The
    vocabulary is open: a third-party detector may use any other short code, for which
    :func:`describe` makes up a neutral entry.
    """

    MA = "MA"
    HE = "HE"
    EX = "EX"
    SE = "SE"
    IRMA = "IRMA"
    NV = "NV"
    OD = "OD"
    FOVEA = "FOVEA"


DR_LESIONS: tuple[Lesion, ...] = (Lesion.MA, Lesion.HE, Lesion.EX, Lesion.SE)
"""The four lesion classes of diabetic retinopathy that the public data sets annotate."""

DR_EVIDENCE = "DR"
"""Code of a region that speaks for retinopathy, as a classifier of whole images shows it.

No class of lesion: experts draw none, and data sets have none of it.
"""


@dataclass(frozen=True)
class LesionInfo:
    """What is known of a class.

    Attributes
    ----------
    code
        Short code, as in file names and tables (``"MA"``).
    name, plural
        Standard English names, lower case.
    kind
        ``"red"`` (dark in the green plane), ``"bright"``, ``"structure"`` (healthy anatomy) or
        ``"other"``.
    colour
        Hex colour of its layers and overlays; distinct under the common colour-vision deficiencies.
    aliases
        Other names found in data sets, compared without case, blanks or punctuation.
    """

    code: str
    name: str
    plural: str
    kind: Literal["red", "bright", "structure", "other"]
    colour: str
    aliases: tuple[str, ...] = ()


_INFO: dict[str, LesionInfo] = {
    info.code: info
    for info in (
        LesionInfo(
            Lesion.MA,
            "microaneurysm",
            "microaneurysms",
            "red",
            "#00e5ff",
            ("red small dots", "small red dots"),
        ),
        LesionInfo(
            Lesion.HE,
            "haemorrhage",
            "haemorrhages",
            "red",
            "#ff4fd8",
            ("hemorrhage", "hemorrhages", "blood", "hemohedge"),
        ),
        LesionInfo(
            Lesion.EX,
            "hard exudate",
            "hard exudates",
            "bright",
            "#ffe119",
            ("exudate", "exudates", "HX"),
        ),
        LesionInfo(
            Lesion.SE,
            "soft exudate",
            "soft exudates",
            "bright",
            "#ffffff",
            ("cotton wool spot", "cotton wool spots", "CWS", "CW"),
        ),
        LesionInfo(
            Lesion.IRMA,
            "intraretinal microvascular abnormality",
            "intraretinal microvascular abnormalities",
            "red",
            "#ff8c1a",
        ),
        LesionInfo(
            Lesion.NV,
            "neovascularisation",
            "neovascularisations",
            "red",
            "#b388ff",
            ("neovascularization", "neovessels"),
        ),
        LesionInfo(
            Lesion.OD, "optic disc", "optic discs", "structure", "#4caf50", ("disc", "optic disk")
        ),
        LesionInfo(
            Lesion.FOVEA, "fovea", "foveas", "structure", "#2979ff", ("macula", "fovea centre")
        ),
        LesionInfo(
            DR_EVIDENCE,
            "region that speaks for DR",
            "regions that speak for DR",
            "other",
            "#ff5722",
        ),
    )
}


def describe(code: str) -> LesionInfo:
    """Return what is known of the class `code`; unknown codes get a neutral entry of their own.

    The colour is the one that a person prefers, see `napari_fundus.runtime.preferences`.
    """
    info = _INFO.get(str(code)) or LesionInfo(str(code), str(code), str(code), "other", "#c0c0c0")
    chosen = preferred_colour(str(code))
    return info if chosen is None else replace(info, colour=chosen)


def _bare(name: str) -> str:
    return re.sub(r"[^a-z]+", "", name.casefold())


_BY_NAME: dict[str, Lesion] = {
    _bare(alias): Lesion(info.code)
    for info in _INFO.values()
    if isinstance(info.code, Lesion)
    for alias in (info.code, info.name, info.plural, *info.aliases)
}


def parse_lesion(name: str) -> Lesion | None:
    """Return the class that a data set's own `name` stands for, or None.

    Case, blanks, digits and punctuation do not matter.

    Examples
    --------
    >>> parse_lesion("1. Microaneurysms")
    <Lesion.MA: 'MA'>
    >>> parse_lesion("Red_small_dots") is Lesion.MA
    True
    >>> parse_lesion("drusen") is None
    True
    """
    return _BY_NAME.get(_bare(name))
