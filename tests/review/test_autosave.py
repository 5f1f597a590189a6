"""An unfinished review comes back from the disk exactly, and a damaged file is told of."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from napari_fundus.errors import FundusError
from napari_fundus.review import history
from napari_fundus.review.autosave import (
    SavedReview,
    autosave_path,
    delete_autosave,
    read_autosave,
    read_unfinished,
    reviews_folder,
    write_autosave,
)
from napari_fundus.review.commands import Command, PixelChange
from napari_fundus.review.history import trim_history
from napari_fundus.review.session import Review


@pytest.fixture
def saved(lab) -> SavedReview:
    review = lab.start(lab.parts(0), lab.parts(1))
    known = sorted(review.lesions)
    review.reject(known[0])
    review.accept(known[1])
    review.relabel(known[2], "SE")
    review.accept(known[-1])
    settings = {"order": "class", "lesion": known[3]}
    return SavedReview(review.labels, review.tables, list(review.lesions.values()), settings)


def test_a_review_is_read_as_it_was_written(saved, tmp_path, lab) -> None:
    path = autosave_path("ab" * 32, tmp_path)
    write_autosave(saved, path)
    again = read_autosave(path)
    for code, array in saved.labels.items():
        np.testing.assert_array_equal(again.labels[code], array)
        assert again.labels[code].dtype == array.dtype
        pd.testing.assert_frame_equal(again.tables[code], saved.tables[code])
    assert again.settings == saved.settings
    assert again.judged == saved.judged == 4
    for one, two in zip(saved.lesions, again.lesions, strict=True):
        for name in ("id", "lesion", "detected", "verdict", "box", "centroid", "alone", "source"):
            assert getattr(one, name) == getattr(two, name)
        assert one.present == two.present
        if one.pixels is not None:
            np.testing.assert_array_equal(one.pixels, two.pixels)
    lab.assert_consistent(Review(again.labels, again.tables, again.lesions))


def test_a_rejected_lesion_can_be_accepted_after_a_crash(saved, tmp_path) -> None:
    path = tmp_path / "a.npz"
    write_autosave(saved, path)
    again = read_autosave(path)
    review = Review(again.labels, again.tables, again.lesions)
    gone = next(x for x in again.lesions if x.verdict == "rejected")
    review.accept(gone.id)
    assert (review.labels[gone.lesion].reshape(-1)[gone.pixels] == gone.id).all()
    row = review.tables[gone.lesion].set_index("index").loc[gone.id]
    assert row["score"] == pytest.approx(gone.score)


def test_what_was_done_is_read_as_it_was_written_and_can_be_undone(tmp_path, lab) -> None:
    review = lab.start(lab.parts(0), lab.parts(1))
    first = {code: array.copy() for code, array in review.labels.items()}
    known = sorted(review.lesions)
    review.reject(known[0])
    review.relabel(known[2], "SE")
    code = review.lesions[known[3]].lesion
    pixels = np.arange(5)
    before = review.labels[code].reshape(-1)[pixels].copy()
    review.labels[code].reshape(-1)[pixels] = review.next_id
    review.stroke(code, pixels, before)
    titles = [command.title for command in review.stack.done]
    path = tmp_path / "a.npz"
    write_autosave(saved_of(review), path)
    kept = read_autosave(path)
    again = Review(kept.labels, kept.tables, kept.lesions)
    again.stack.restore(kept.history)
    assert [command.title for command in again.stack.done] == titles
    assert len(titles) == 3
    for _ in titles:
        again.undo()
        lab.assert_consistent(again)
    for code, array in first.items():
        np.testing.assert_array_equal(again.labels[code], array)


def saved_of(review: Review) -> SavedReview:
    lesions = list(review.lesions.values())
    return SavedReview(review.labels, review.tables, lesions, history=review.stack.done)


def test_only_the_latest_that_fit_are_kept(monkeypatch) -> None:
    monkeypatch.setattr(history, "_PIXELS", 25)
    monkeypatch.setattr(history, "_COMMANDS", 4)
    values = np.arange(10)
    wide = [Command(str(n), pixels=(PixelChange("MA", values, values, values),)) for n in range(6)]
    assert [command.title for command in trim_history(wide)] == ["4", "5"]
    assert [c.title for c in trim_history([Command(str(n)) for n in range(6)])] == list("2345")


def test_a_file_of_an_earlier_release_has_no_history(saved, tmp_path) -> None:
    path = tmp_path / "a.npz"
    write_autosave(saved, path)
    with np.load(path) as file:
        arrays = dict(file)
    head = json.loads(arrays["head"].tobytes().decode())
    del head["history"]
    arrays["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
    np.savez_compressed(path, **arrays)
    assert list(read_autosave(path).history) == []


def test_a_save_that_fails_leaves_the_earlier_one(saved, tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.npz"
    write_autosave(saved, path)
    before = path.read_bytes()

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk full"):
        write_autosave(saved, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"PK\x03\x04 half a file"])
def test_a_damaged_file_is_told_of(tmp_path, content) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(FundusError, match="damaged"):
        read_autosave(path)


def test_no_file_is_no_review_and_discarding_it_is_fine(tmp_path) -> None:
    assert read_autosave(tmp_path / "a.npz") is None
    delete_autosave(tmp_path / "a.npz")


def test_each_review_has_a_file_of_its_own_and_all_of_an_image_are_found(saved, tmp_path) -> None:
    one, two = (autosave_path("ab" * 32, tmp_path) for _ in range(2))
    assert one != two
    for path in (one, two, tmp_path / f"{'ab' * 12}.npz"):  # the last as the first releases name it
        write_autosave(saved, path)
    write_autosave(saved, autosave_path("cd" * 32, tmp_path))
    shape = next(iter(saved.labels.values())).shape
    found, problems = read_unfinished("ab" * 32, shape, tmp_path)
    assert (len(found), problems) == (3, [])
    assert {path for each in found for path in each.files} >= {one, two}


def test_reviews_of_another_size_are_told_of(saved, tmp_path) -> None:
    write_autosave(saved, autosave_path("ab" * 32, tmp_path))
    found, (problem,) = read_unfinished("ab" * 32, (7, 9), tmp_path)
    assert found == []
    assert "another size than 9 x 7 px" in str(problem)


def test_the_folder_can_be_set(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("NAPARI_FUNDUS_REVIEWS", str(tmp_path))
    assert reviews_folder() == tmp_path
    assert autosave_path("0123456789" * 7).parent == tmp_path
