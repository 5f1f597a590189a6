"""Which images of a data set are evaluated; if it can be helped, none that weights have seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from napari_fundus.datasets import Dataset, Sample
from napari_fundus.errors import DatasetError
from napari_fundus.evaluation.candidate import Candidate
from napari_fundus.evaluation.protocols.case import as_healthy, is_healthy

SplitName = Literal["held-back", "test", "valid", "train", "all"]
SPLITS: tuple[str, ...] = get_args(SplitName)


@dataclass(frozen=True)
class Selection:
    """The images of an evaluation.

    Attributes
    ----------
    samples
        In the data set's order, healthy ones of another folder last.
    split
        How they were chosen.
    note
        The same in a sentence.
    """

    samples: tuple[Sample, ...]
    split: SplitName
    note: str


def select_samples(
    dataset: Dataset,
    candidates: Sequence[Candidate] = (),
    *,
    split: SplitName | None = None,
    healthy: Dataset | None = None,
    graded: bool = True,
) -> Selection:
    """Choose the images.

    Parameters
    ----------
    dataset
        Where lesions are drawn.
    candidates
        What will be measured; their cards tell what was held back in training.
    split
        ``"held-back"``: images that every card that knows this data set names as held back.
        ``"train"``, ``"valid"``, ``"test"``: the data set's own parts. ``"all"``. None takes
        ``"held-back"`` where a card names images of this data set, else the testing part where it
        has annotated images, else all.
    healthy
        Images without disease; in ``"held-back"``, those that no weights were trained on.
    graded
        Whether images of the data set itself with grade 0 and nothing drawn count as healthy.

    Raises
    ------
    DatasetError
        No image is left.
    """
    # The same picture may stand among the graded images and, larger, in the folder.
    eyes = {s.image_path.name: s.group for s in dataset if is_healthy(s)}
    extra = [
        replace(as_healthy(s), group=s.group or eyes.get(s.image_path.name))
        for s in healthy or ()
        if not s.truths
    ]
    taken = {s.image_path.name for s in extra}
    eligible = [
        s for s in dataset if not is_healthy(s) or (graded and s.image_path.name not in taken)
    ]
    chosen = split or _default(dataset, eligible, candidates)
    knowing = [c for c in candidates if c.held_back(eligible) or c.trained_on(eligible)]
    if chosen == "held-back":
        kept = _held_back(dataset, eligible, knowing)
        seen = {s.id for c in candidates for s in c.trained_on([*eligible, *extra])}
        samples = [s for s in [*kept, *extra] if s.id not in seen]
        named = ", ".join(dict.fromkeys(c.card.name for c in knowing if c.card is not None))
        note = (
            f"the images that the cards of the weights ({named}) name as held back in training; "
            "the best epoch was chosen on them, so the figures of these weights are a little too "
            "good"
        )
    elif chosen == "all":
        samples, note = [*eligible, *extra], "all images"
    else:
        samples = [*(s for s in eligible if s.split == chosen), *extra]
        note = f"the data set's own {chosen} part"
    if not any(s.id not in {e.id for e in extra} for s in samples):
        raise DatasetError(
            f"{dataset.root} has no image in {note}. Parts: "
            f"{', '.join(f'{name} ({count})' for name, count in dataset.splits.items())}. Choose "
            f"another --split: {', '.join(SPLITS)}."
        )
    if extra:
        note += ", and a folder of healthy images"
    return Selection(tuple(samples), chosen, note)


def _default(
    dataset: Dataset, eligible: Sequence[Sample], candidates: Sequence[Candidate]
) -> SplitName:
    if any(c.held_back(eligible) for c in candidates):
        return "held-back"
    if any(s.split == "test" and s.annotated for s in dataset):
        return "test"
    return "all"


def _held_back(
    dataset: Dataset, eligible: Sequence[Sample], knowing: Sequence[Candidate]
) -> list[Sample]:
    """Return the images that all cards that know the data set name as held back."""
    if not knowing:
        raise DatasetError(
            f"No weights name images of {dataset.root} as held back in training. Choose --split "
            "test, train, valid or all."
        )
    common = set.intersection(*({s.id for s in c.held_back(eligible)} for c in knowing))
    if not common:
        each = "; ".join(f"{c.label}: {len(c.held_back(eligible))}" for c in knowing)
        raise DatasetError(
            f"No image of {dataset.root} was held back in the training of all ({each}). Evaluate "
            "them one by one, or choose another --split."
        )
    return [s for s in eligible if s.id in common]
