"""An unfinished review comes back from the disk exactly, and a damaged file is told of."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from napari_fundus.errors import FundusError
from napari_fundus.gui.review.autosave import (
    Saved,
    discard,
    read_saved,
    reviews_folder,
    saved_path,
    write_saved,
)
from napari_fundus.gui.review.session import Review


@pytest.fixture
def saved(lab) -> Saved:
    review = lab.start(lab.parts(0), lab.parts(1))
    known = sorted(review.lesions)
    review.reject(known[0])
    review.accept(known[1])
    review.relabel(known[2], "SE")
    review.accept(known[-1])
    settings = {"order": "class", "lesion": known[3]}
    return Saved(review.labels, review.tables, list(review.lesions.values()), settings)


def test_a_review_is_read_as_it_was_written(saved, tmp_path, lab) -> None:
    path = saved_path("ab" * 32, tmp_path)
    write_saved(saved, path)
    again = read_saved(path)
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
    write_saved(saved, path)
    again = read_saved(path)
    review = Review(again.labels, again.tables, again.lesions)
    gone = next(x for x in again.lesions if x.verdict == "rejected")
    review.accept(gone.id)
    assert (review.labels[gone.lesion].reshape(-1)[gone.pixels] == gone.id).all()
    row = review.tables[gone.lesion].set_index("index").loc[gone.id]
    assert row["score"] == pytest.approx(gone.score)


def test_a_save_that_fails_leaves_the_earlier_one(saved, tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.npz"
    write_saved(saved, path)
    before = path.read_bytes()

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk full"):
        write_saved(saved, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"PK\x03\x04 half a file"])
def test_a_damaged_file_is_told_of(tmp_path, content) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(FundusError, match="damaged"):
        read_saved(path)


def test_no_file_is_no_review_and_discarding_it_is_fine(tmp_path) -> None:
    assert read_saved(tmp_path / "a.npz") is None
    discard(tmp_path / "a.npz")


def test_the_folder_can_be_set(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("NAPARI_FUNDUS_REVIEWS", str(tmp_path))
    assert reviews_folder() == tmp_path
    assert saved_path("0123456789" * 7).parent == tmp_path
