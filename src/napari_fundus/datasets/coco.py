"""Any folder of images with annotations in COCO's JSON, one file for all or one a part."""

from __future__ import annotations

from pathlib import Path

from napari_fundus.datasets.annotation_files import INNER_FOLDERS, annotation_folders, read_each
from napari_fundus.datasets.base import Dataset, Sample
from napari_fundus.datasets.coco_reader import CocoReader, is_found_by_us
from napari_fundus.datasets.coco_shapes import CocoTruth
from napari_fundus.datasets.files import (
    find_root,
    iter_files,
    list_images,
    missing_problems,
    relative_to_root,
    unique_ids,
)
from napari_fundus.datasets.json_files import read_head_and_tail
from napari_fundus.errors import DatasetError

_DEPTH = 6


class CocoDataset(Dataset):
    """Images annotated in COCO's format: polygons, run lengths or boxes.

    Every known lesion class among the categories counts as annotated in every image listed, with or
    without an annotation; so does every other category that occurs. Images that no file lists are
    not annotated. What napari-fundus itself exports is read where it is asked for by name
    (``open_dataset(folder, "coco")``), and never taken for an expert's work.
    """

    name = "coco"
    title = "COCO annotations"
    reference = "Lin et al. 2014, doi:10.1007/978-3-319-10602-1_48"
    reads_parts = True
    layout = "a JSON with the lists images, annotations and categories, beside or above the images"

    @classmethod
    def recognize(cls, folder: Path) -> Path | None:
        """Return the folder of annotations around or inside `folder`, or None."""
        return _root(folder, exports=False)

    @classmethod
    def recognize_by_name(cls, folder: Path) -> Path | None:
        """Return the root as :meth:`recognize`, also where it holds our own exports alone."""
        return _root(folder, exports=False) or _root(folder, exports=True)

    @classmethod
    def open(cls, root: Path) -> CocoDataset:
        """Read all annotations in `root` and below it.

        Raises
        ------
        DatasetError
            There are none, or none can be read as COCO.
        """
        files = _files(root, exports=False, depth=_DEPTH)
        files = files or _files(root, exports=True, depth=_DEPTH)
        if not files:
            raise DatasetError(f"{root} has no COCO annotations; looked for {cls.layout}.")
        images = list_images(root, depth=_DEPTH)
        reader = CocoReader(root, images)
        reader.problems += read_each(files, reader.read, root)
        reader.problems += reader.repeated.problems()
        for path, code in reader.left_out:
            # Of what could not be read it is not known that it is absent.
            if code not in reader.lesions[path]:
                reader.annotated[path].discard(code)
        unlisted = (relative_to_root(path, root) for path in images if path not in reader.annotated)
        reader.problems += missing_problems(
            unlisted, "Not in the annotations: nothing is known of it."
        )
        samples = [
            Sample(
                identity,
                path,
                split=reader.splits.get(path),
                annotated=frozenset(reader.annotated.get(path, ())),
                truths={
                    code: CocoTruth(tuple(drawn)) for code, drawn in reader.lesions[path].items()
                },
            )
            for identity, path in unique_ids(images, root)
        ]
        return cls(root, samples, reader.problems)


def _root(folder: Path, *, exports: bool) -> Path | None:
    return find_root(
        folder,
        lambda f: any(_files(part, exports=exports, depth=0) for part in annotation_folders(f)),
        inner_folders=f"^{INNER_FOLDERS.pattern}",
        above=1,
    )


def _files(folder: Path, *, exports: bool, depth: int) -> list[Path]:
    """Return the files of annotations of a folder; those that we export, or all others."""
    found = ((path, read_head_and_tail(path)) for path in iter_files(folder, depth=depth))
    return [
        path for path, ends in found if _looks_like_coco(ends) and is_found_by_us(ends) == exports
    ]


def _looks_like_coco(ends: bytes) -> bool:
    """Tell by the two ends of a file, which may be long."""
    words = (b'"images"', b'"annotations"', b'"categories"', b'"image_id"', b'"category_id"')
    return sum(word in ends for word in words) >= 2
