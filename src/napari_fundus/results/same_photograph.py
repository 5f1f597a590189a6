"""Whether two things are of one photograph: refused where they are not, told where it is unknown.

Size and name decide nothing: photographs of one camera are of one size, and every data set has a
first image.
"""

from __future__ import annotations

from napari_fundus.errors import OtherPhotographError
from napari_fundus.image_identity import ImageIdentity


def photograph_mismatch(
    what: str, one: ImageIdentity | None, other_what: str, other: ImageIdentity | None
) -> str:
    """Return a sentence if both are known to be of different photographs; else an empty text.

    Parameters
    ----------
    what, other_what
        What is compared, such as "the result" and "the truth".
    one, other
        Whose photographs they are of, as far as that is known.

    Examples
    --------
    >>> one, other = (ImageIdentity(name=name, sha256=64 * name[0]) for name in ("a1", "b2"))
    >>> photograph_mismatch("the result", one, "the truth", other)
    "They are of different photographs: the result of 'a1', the truth of 'b2'."
    >>> photograph_mismatch("the result", one, "the truth", one)
    ''
    """
    if one is None or other is None or one.same_photograph(other) is not False:
        return ""
    names = _told_apart(one, other)
    return f"They are of different photographs: {what} of {names[0]}, {other_what} of {names[1]}."


def photograph_doubt(
    what: str, one: ImageIdentity | None, other_what: str, other: ImageIdentity | None
) -> str:
    """Return a sentence if nothing tells whether both are of one photograph; else an empty text.

    Examples
    --------
    >>> known = ImageIdentity(name="a1", sha256=64 * "a")
    >>> photograph_doubt("the result", known, "the truth", None)
    "Nothing tells of which photograph the truth is: make sure it is the same photograph, 'a1'."
    """
    if one is not None and one.same_photograph(other) is not None:
        return ""
    unknown = other_what if one is not None and one.known else what
    known = one if unknown == other_what else other
    name = f", {known.name!r}" if known is not None and known.name else ""
    sure = f"make sure it is the same photograph{name}."
    return f"Nothing tells of which photograph {unknown} is: {sure}"


def require_same_photograph(
    what: str, one: ImageIdentity | None, other_what: str, other: ImageIdentity | None
) -> None:
    """Raise where both are known to be of different photographs.

    Raises
    ------
    OtherPhotographError
        The message names both photographs.
    """
    if reason := photograph_mismatch(what, one, other_what, other):
        raise OtherPhotographError(
            f"{reason} Give those of one photograph, or say allow_other_photograph=True."
        )


def _told_apart(one: ImageIdentity, other: ImageIdentity) -> tuple[str, str]:
    """Return both names; where they are the same, with the beginning of the hash."""
    if one.name != other.name:
        return repr(one.name or "an image"), repr(other.name or "an image")
    first, second = (
        f"{image.name or 'an image'!r} (content {(image.sha256 or image.perceptual)[:8]})"
        for image in (one, other)
    )
    return first, second
