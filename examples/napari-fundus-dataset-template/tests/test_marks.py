"""A folder of the layout is recognized, and its marks are where they were set."""

import numpy as np
from PIL import Image

from napari_fundus import open_dataset


def test_marks_are_read_where_they_are(tmp_path):
    (tmp_path / "photographs").mkdir()
    Image.fromarray(np.full((100, 120, 3), 90, np.uint8)).save(tmp_path / "photographs" / "a.png")
    (tmp_path / "marks.csv").write_text(
        "image,split,lesion,x,y,radius\na,train,microaneurysm,70,30,4\nb,train,MA,1,1,1\n"
    )
    dataset = open_dataset(tmp_path / "photographs")
    (sample,) = dataset
    rows, cols = np.nonzero(sample.mask("MA", (100, 120)))
    assert dataset.name == "marks"
    assert (rows.mean(), cols.mean()) == (30, 70)
    assert not sample.mask("HE", (100, 120)).any()
    assert [problem.path for problem in dataset.problems] == ["marks.csv, line 3"]
