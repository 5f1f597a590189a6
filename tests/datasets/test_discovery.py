"""Which data set a folder is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from napari_fundus.datasets import dataset_classes, open_dataset
from napari_fundus.datasets.folder import FolderDataset
from napari_fundus.errors import DatasetError


def test_missing_folder_is_a_dataset_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="There is no folder"):
        open_dataset(tmp_path / "nowhere")


def test_empty_folder_tells_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        open_dataset(tmp_path)

    assert all(reader.title in str(caught.value) for reader in dataset_classes())


def test_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"'nope'.*idrid.*folder"):
        open_dataset(tmp_path, "nope")


def test_name_that_does_not_fit_tells_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"is not .*ROC.*ROCtraining"):
        open_dataset(tmp_path, "roc")


def test_name_decides_where_content_would_say_otherwise(tmp_path: Path, write_image: Any) -> None:
    write_image(tmp_path / "ROCtraining" / "image0_training.jpg")

    assert open_dataset(tmp_path).name == "roc"
    assert open_dataset(tmp_path, "folder").name == "folder"


def test_folder_with_several_data_sets_is_refused_with_their_names(
    tmp_path: Path, write_image: Any
) -> None:
    write_image(tmp_path / "one" / "image0_training.jpg")
    write_image(tmp_path / "two" / "train" / "10_left.jpeg")
    (tmp_path / "two" / "trainLabels.csv").write_text("image,level\n10_left,0\n")

    with pytest.raises(DatasetError, match=r"several data sets: roc in .*one; eyepacs in .*two"):
        open_dataset(tmp_path)


def test_strange_folder_in_a_data_set_is_not_taken_for_it(tmp_path: Path, write_image: Any) -> None:
    write_image(tmp_path / "train" / "10_left.jpeg")
    (tmp_path / "trainLabels.csv").write_text("image,level\n10_left,0\n")
    write_image(tmp_path / "holiday" / "a.jpg")

    assert open_dataset(tmp_path / "holiday").name == "folder"
    assert open_dataset(tmp_path / "train").name == "eyepacs"


def test_file_stands_for_its_folder(tmp_path: Path, write_image: Any) -> None:
    image = write_image(tmp_path / "a.jpg")

    assert open_dataset(image).root == tmp_path


def test_plain_folder_comes_last_and_names_are_unique() -> None:
    readers = dataset_classes()

    assert readers[-1] is FolderDataset
    assert len({reader.name for reader in readers}) == len(readers)


def test_samples_read_their_image_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")

    assert len(open_dataset(tmp_path)) == 1
