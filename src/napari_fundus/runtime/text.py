"""Text from outside (names of files, cards, messages of others) made safe to print and to store."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_UNPRINTABLE = re.compile(
    # Controls, escapes of a terminal among them; marks that turn the order of what follows; parts
    # of a name that is not UTF-8.
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


_CODE = re.compile(r"[^\W_][\w .+()'&-]{0,63}")
"""A letter or digit first; nothing that separates columns, paths, classes or fields."""

_OWN_COLUMNS = frozenset(
    {
        *("path", "status", "place", "seconds", "message", "scores", "extent", "score"),
        *("field_of_view", "optic_disc", "fovea", "image", "id", "class", "lesion"),
    }
)


def check_class_codes(codes: Iterable[Any]) -> tuple[str, ...]:
    """Return codes of classes that can name files, layers, and columns of tables.

    Parameters
    ----------
    codes
        As a plugin or a card gives them.

    Raises
    ------
    ValueError
        One is no text, holds what separates names, is a column of this package's own, or cannot be
        told from another.

    Examples
    --------
    >>> check_class_codes(["MA", "hard exudate"])
    ('MA', 'hard exudate')
    """
    found: list[str] = []
    for code in codes:
        if not isinstance(code, str):
            raise ValueError(f"{code!r} is no name of a class: it is not text")
        if not _CODE.fullmatch(code) or code != code.strip():
            raise ValueError(
                f"{code!r} is no name of a class: use up to 64 letters, digits, blanks, . _ + -"
            )
        if code in _OWN_COLUMNS:
            raise ValueError(f"{code!r} is no name of a class: tables have a column of that name")
        folded = code.casefold()
        for other in (name.casefold() for name in found):
            if folded == other:
                raise ValueError(f"the class {code!r} is named twice")
            if f"{folded}_".startswith(f"{other}_") or f"{other}_".startswith(f"{folded}_"):
                raise ValueError(f"the columns of {code!r} cannot be told from those of {other!r}")
        found.append(str(code))
    return tuple(found)


def escape_surrogates(text: str) -> str:
    r"""Return text that every file and table can hold, as names of files need not be.

    Examples
    --------
    >>> escape_surrogates("eye \udcff.png")
    'eye \\udcff.png'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def printable(text: str) -> str:
    r"""Return text that does nothing to a terminal but appear; lines and tabs stay.

    Examples
    --------
    >>> printable("\x1b[31mred \udcff")
    '\\x1b[31mred \\udcff'
    """
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def describe_error(error: BaseException) -> str:
    """Return what an error says in one line that can be printed, whoever raised it."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - an error of others may fail in any way
        return f"{type(error).__name__}, whose message cannot be printed"
    return " ".join(printable(text).split()) or type(error).__name__
