"""Text from outside (names of files, cards, messages of others) made safe to print and to store."""

from __future__ import annotations

import re

_UNPRINTABLE = re.compile(
    # Controls, escapes of a terminal among them; marks that turn the order of what follows; parts
    # of a name that is not UTF-8.
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


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
