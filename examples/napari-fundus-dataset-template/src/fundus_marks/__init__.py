"""A complete reader of a data set: photographs and a table of lesions marked as circles.

A folder holds ``marks.csv`` with the columns image, split, lesion, x, y and radius, a line for each
lesion, and the photographs in ``photographs/``. An image without lesions has one line without a
lesion; images that the table does not name are not annotated.
"""

from napari_fundus.datasets import Dataset, Problem, Sample
from napari_fundus.datasets.annotations import Point, PointsTruth
from napari_fundus.datasets.files import find_root, images_by_stem, parse_number, read_table
from napari_fundus.lesions import parse_lesion
from napari_fundus.plugin_hooks import hookimpl

CLASSES = ("MA", "HE")


def is_marks(folder):
    """Whether a folder has the files of this data set; looks at names only."""
    return (folder / "marks.csv").is_file() and (folder / "photographs").is_dir()


class Marks(Dataset):
    """Microaneurysms and haemorrhages, marked as circles by one expert."""

    name = "marks"
    title = "Marked lesions"
    reference = "Doe et al. 2026"
    licence = "CC-BY 4.0"
    layout = "'marks.csv' with the columns image, split, lesion, x, y, radius, and 'photographs'"

    @classmethod
    def recognize(cls, folder):
        """Return the root: `folder`, one around it, or one inside it; None if there is none."""
        return find_root(folder, is_marks, inner_folders="^photographs$")

    @classmethod
    def open(cls, root):
        """Read the table, and no image."""
        photographs = images_by_stem(root / "photographs")
        splits, points, problems = {}, {}, []
        for line, row in enumerate(read_table(root / "marks.csv"), start=2):
            stem = row["image"].casefold()
            if stem not in photographs:
                problems.append(Problem(f"marks.csv, line {line}", f"No image {row['image']!r}."))
                continue
            splits[stem] = row["split"] or None
            if row["lesion"]:
                code = parse_lesion(row["lesion"])  # "MA", "microaneurysm", …
                x, y, radius = (parse_number(row[key]) for key in ("x", "y", "radius"))
                if code not in CLASSES or x is None or y is None:
                    problems.append(Problem(f"marks.csv, line {line}", "No class or no place."))
                    continue
                drawn = points.setdefault(stem, {}).setdefault(code, [])
                drawn.append(Point(row=y, col=x, radius=radius or 0))
        samples = [
            Sample(
                path.stem,
                path,
                split=splits.get(stem),
                annotated=frozenset(CLASSES if stem in splits else ()),
                truths={c: PointsTruth(tuple(p)) for c, p in points.get(stem, {}).items()},
            )
            for stem, path in sorted(photographs.items())
        ]
        return cls(root, samples, problems)


@hookimpl
def napari_fundus_datasets():
    """Return the readers of data sets that are here."""
    return [Marks]
