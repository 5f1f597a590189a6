"""Text from outside is printed as text."""

from __future__ import annotations

import pytest

from napari_fundus.runtime.text import describe_error, escape_surrogates, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, µm and 眼", "plain, µm and 眼"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[2J\x07\r", "\\x1b[2J\\x07\\r"),
        ("\x9b31m", "\\x9b31m"),
        ("exe.\u202egnp", "exe.\\u202egnp"),
        ("\udcff", "\\udcff"),
    ],
)
def test_nothing_commands_the_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown
    printable(text).encode()
    assert escape_surrogates(text).encode().decode() == text.replace("\udcff", "\\udcff")


class Unprintable(Exception):
    def __str__(self) -> str:
        raise SystemExit


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\n  line"), "one line"),
        (ValueError(), "ValueError"),
        (ValueError("\x1b[0m"), "\\x1b[0m"),
        (Unprintable(), "Unprintable, whose message cannot be printed"),
    ],
)
def test_errors_are_told_in_one_line(error: Exception, line: str) -> None:
    assert describe_error(error) == line
