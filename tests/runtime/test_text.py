"""Text from outside is printed as text."""

from __future__ import annotations

import pytest

from napari_fundus.runtime.text import (
    check_class_codes,
    describe_error,
    escape_surrogates,
    printable,
)


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


@pytest.mark.parametrize(
    "codes", [["MA", "HE", "EX"], ["hard exudate", "drusen-2", "Äderchen"], ["OD", "FOVEA", "DR"]]
)
def test_names_of_classes_that_can_be_told_apart_are_taken(codes: list[str]) -> None:
    assert check_class_codes(codes) == tuple(codes)


@pytest.mark.parametrize(
    ("codes", "reason"),
    [
        ([1], "not text"),
        (["a/b"], "no name"),
        (["a\\b"], "no name"),
        (["a,b"], "no name"),
        (["a=b"], "no name"),
        (["../a"], "no name"),
        (["=1+1"], "no name"),
        (["\x1b[31m"], "no name"),
        (["a\n"], "no name"),
        (["a "], "no name"),
        ([""], "no name"),
        (["x" * 65], "no name"),
        (["status"], "column"),
        (["MA", "ma"], "twice"),
        (["MA", "MA_area"], "cannot be told"),
    ],
)
def test_other_names_of_classes_are_refused(codes: list[str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_class_codes(codes)
