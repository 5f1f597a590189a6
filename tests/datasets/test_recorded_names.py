"""Recorded names lead to the one photograph that is meant, or are named as lost."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from napari_fundus.datasets.recorded_names import PhotographFinder, Recorded


def make(root: Path, *names: str) -> PhotographFinder:
    """Write files of 1, 2, 3, … bytes, and return a finder of them."""
    paths = [root / name for name in names]
    for size, path in enumerate(paths, start=1):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    return PhotographFinder(root, paths)


def find(finder: PhotographFinder, root: Path, *recorded: Recorded, file: str = "n.json") -> dict:
    """Return what is found: the recorded name and size to a place."""
    found, _ = finder.find(root / file, recorded)
    return {(one.name, one.size): path.relative_to(root).as_posix() for one, path in found.items()}


@pytest.mark.parametrize(
    "name",
    [
        "eye one.jpg",
        "EYE ONE.JPG",
        "./eye one.jpg",
        r"C:\eyes\eye one.jpg",
        "/data/eye one.jpg",
        "file:///C:/data/eye%20one.jpg",
        "https://host/data/eye%20one.jpg?size=full#top",
        "eye%20one.jpg",
        "../other/eye one.jpg",
    ],
)
def test_a_name_of_another_machine_is_the_one_image_of_its_bare_name(
    tmp_path: Path, name: str
) -> None:
    finder = make(tmp_path, "part/eye one.jpg", "b.jpg")
    assert find(finder, tmp_path, Recorded(name)) == {(name, None): "part/eye one.jpg"}


def test_composed_and_decomposed_accents_are_the_same_name(tmp_path: Path) -> None:
    written = unicodedata.normalize("NFD", "œil é.jpg")
    finder = make(tmp_path, written)
    assert len(find(finder, tmp_path, Recorded(unicodedata.normalize("NFC", written)))) == 1


@pytest.mark.parametrize("name", ["https://host", "https://[host/a.jpg", "", "..", "/", "a.jpg/.."])
def test_a_name_of_no_file_is_lost(tmp_path: Path, name: str) -> None:
    found, problems = make(tmp_path, "a.jpg").find(tmp_path / "n.json", [Recorded(name)])
    assert found == {}
    assert [p.path for p in problems] == [f"n.json: {name}"]


@pytest.mark.parametrize(
    ("recorded", "file", "want"),
    [
        (Recorded("a.png", 2), "n.json", "right/a.png"),
        (Recorded("/x/right/a.png"), "n.json", "right/a.png"),
        (Recorded("a.png"), "right/n.json", "right/a.png"),
        (Recorded("../right/a.png"), "notes/n.json", "right/a.png"),
        (Recorded("a.png"), "instances_val.json", "val/deep/a.png"),
        (Recorded("a.png", 9), "n.json", None),
        (Recorded("/x/elsewhere/a.png"), "n.json", None),
    ],
)
def test_images_of_one_bare_name_are_told_apart_or_lost(
    tmp_path: Path, recorded: Recorded, file: str, want: str | None
) -> None:
    finder = make(tmp_path, "left/a.png", "right/a.png", "val/deep/a.png")
    found, problems = finder.find(tmp_path / file, [recorded])
    assert [p.relative_to(tmp_path).as_posix() for p in found.values()] == [want] * bool(want)
    assert [p.path for p in problems] == ([] if want else [f"{file}: {recorded.name}"])
    assert all("nothing tells which" in p.message for p in problems)


def test_names_that_differ_in_case_alone_are_told_apart(tmp_path: Path) -> None:
    finder = make(tmp_path, "a.png", "A.png")
    assert find(finder, tmp_path, Recorded("A.png")) == {("A.png", None): "A.png"}


def test_two_photographs_are_never_taken_for_the_one_image_of_their_name(tmp_path: Path) -> None:
    finder = make(tmp_path, "images/a.png")
    left, right = Recorded("left/a.png"), Recorded("right/a.png")
    found, problems = finder.find(tmp_path / "n.json", [left, right])
    assert found == {}
    assert {p.path for p in problems} == {"n.json: left/a.png", "n.json: right/a.png"}
    assert all("another photograph" in p.message for p in problems)


def test_of_two_photographs_the_one_that_is_there_is_found(tmp_path: Path) -> None:
    finder = make(tmp_path, "left/a.png")
    by_place = find(finder, tmp_path, Recorded("left/a.png"), Recorded("right/a.png"))
    assert by_place == {("left/a.png", None): "left/a.png"}
    by_bytes = find(finder, tmp_path, Recorded("a.png", 1), Recorded("a.png", 7))
    assert by_bytes == {("a.png", 1): "left/a.png"}
    assert find(finder, tmp_path, Recorded("a.png", 6), Recorded("a.png", 7)) == {}


def test_one_photograph_recorded_twice_is_found_twice(tmp_path: Path) -> None:
    finder = make(tmp_path, "part/a.png")
    twice = (
        Recorded("part/a.png"),
        Recorded("./part/a.png"),
        Recorded("a.png", 1),
        Recorded("a.png"),
    )
    assert len(find(finder, tmp_path, *twice[:2])) == 2
    assert len(find(finder, tmp_path, *twice[2:])) == 2


def test_a_second_name_serves_where_the_first_leads_nowhere(tmp_path: Path) -> None:
    finder = make(tmp_path, "a.png")
    assert len(find(finder, tmp_path, Recorded("https://host/view?id=5", also="a.png"))) == 1
