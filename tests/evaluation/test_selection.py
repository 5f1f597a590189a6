"""Which images are evaluated, and that images seen in training are kept out or told of loudly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from napari_fundus.checkpoints import ModelCard, Split
from napari_fundus.datasets import Dataset, Sample
from napari_fundus.errors import DatasetError
from napari_fundus.evaluation import Candidate, evaluate_dataset, select_samples, to_markdown


class Made(Dataset):
    """A data set whose samples are given."""

    name, title = "made", "Made up"
    recognize = open = None


Made.__abstractmethods__ = frozenset()


def sample(name: str, **more) -> Sample:
    annotated = frozenset(() if more.get("grades") else {"MA"})
    return Sample(name, Path(f"{name.rpartition('/')[2]}.png"), annotated=annotated, **more)


def made(*samples: Sample) -> Made:
    return Made(Path("made"), samples)


def trained(detector, *, train=(), validation=(), name="weights") -> Candidate:
    split = Split(train=tuple(train), validation=tuple(validation))
    card = ModelCard(name=name, detector=detector.name, split=split)
    return Candidate(detector, detector.Options(), name, card, "ab" * 32)


def ids(selection) -> list[str]:
    return [s.id for s in selection.samples]


@pytest.fixture
def data() -> Made:
    return made(
        sample("a/1", split="train", group="eye"),
        sample("a/2", split="train"),
        sample("a/3", split="train"),
        sample("a/4", split="test"),
        sample("b/1", split="train", grades={"dr": 0}, group="eye"),
        sample("b/2", split="test", grades={"dr": 0}),
        sample("b/3", split="test", grades={"dr": 3}),
    )


def test_held_back_is_the_default_where_a_card_names_images(data, contrast) -> None:
    one = trained(contrast, train=["a/1"], validation=["a/2", "a/3"])
    selection = select_samples(data, [one, Candidate.of(contrast)])
    assert selection.split == "held-back"
    assert ids(selection) == ["a/2", "a/3"]


def test_all_cards_must_have_held_an_image_back(data, contrast) -> None:
    one = trained(contrast, train=["a/1"], validation=["a/2", "a/3"])
    other = trained(contrast, train=["a/2"], validation=["a/1", "a/3"])
    assert ids(select_samples(data, [one, other])) == ["a/3"]
    third = trained(contrast, train=["a/3"], validation=["a/1"])
    with pytest.raises(DatasetError, match="held back in the training of all"):
        select_samples(data, [one, other, third])


def test_a_card_of_other_data_asks_for_nothing(data, contrast) -> None:
    foreign = trained(contrast, train=["x/9"], validation=["x/8"])
    selection = select_samples(data, [foreign])
    assert selection.split == "test"
    assert ids(selection) == ["a/4", "b/2", "b/3"]
    with pytest.raises(DatasetError, match="No weights name images"):
        select_samples(data, [foreign], split="held-back")


def test_splits_are_the_data_sets_own(data) -> None:
    assert ids(select_samples(data, split="train")) == ["a/1", "a/2", "a/3", "b/1"]
    assert len(select_samples(data, split="all").samples) == 7
    assert ids(select_samples(data, split="test", graded=False)) == ["a/4", "b/3"]
    with pytest.raises(DatasetError, match=r"valid part. Parts: train \(4\)"):
        select_samples(data, split="valid")


def test_without_a_testing_part_all_are_taken(contrast) -> None:
    assert select_samples(made(sample("1"), sample("2"))).split == "all"


def test_a_folder_of_healthy_images_joins_in(data, contrast) -> None:
    folder = made(sample("1"), sample("7"))  # 1 is the picture of b/1
    folder.samples = tuple(replace(s, annotated=frozenset()) for s in folder.samples)
    selection = select_samples(data, split="train", healthy=folder)
    assert ids(selection) == ["a/1", "a/2", "a/3", "healthy/1", "healthy/7"]
    assert selection.samples[3].group == "eye"
    seen = trained(contrast, train=["a/2", "healthy/7"], validation=["a/1", "a/3"])
    assert ids(select_samples(data, [seen], healthy=folder)) == ["a/1", "a/3", "healthy/1"]


def test_an_eye_seen_in_training_is_not_held_back(data, contrast) -> None:
    card = trained(contrast, train=["b/1"], validation=["a/1", "a/2"])
    assert ids(select_samples(data, [card])) == ["a/2"]


def test_names_count_where_the_data_set_was_opened_at_a_part(contrast) -> None:
    card = trained(contrast, train=["part/eye_1"], validation=["part/eye_2"])
    assert ids(select_samples(made(sample("eye_1"), sample("eye_2")), [card])) == ["eye_2"]


def test_images_trained_on_are_told_of_loudly(dataset, contrast) -> None:
    card = trained(contrast, train=["eye0", "eye1"], validation=["eye2"])
    report = evaluate_dataset(dataset, [card], protocols=["aupr"], lesions=["MA"], resamples=10)
    assert "TRAINED on 2 of the 3 images" in report.warnings[0]
    page = to_markdown(report)
    assert page.splitlines()[2].startswith("> **WARNING.** weights was TRAINED on 2")
    assert [image.seen for image in report.trials[0].images] == [True, True, False]
    unseen = evaluate_dataset(dataset[2:], [card], protocols=["aupr"], resamples=10, known=dataset)
    assert not any("TRAINED" in warning for warning in unseen.warnings)
    same_eye = [replace(s, group="one eye") for s in dataset]
    told = evaluate_dataset(same_eye[2:], [card], protocols=["aupr"], resamples=10, known=same_eye)
    assert "TRAINED on 1 of the 1 images" in told.warnings[0]


def by_content(detector, *, train=(), validation=()) -> Candidate:
    """Return a candidate whose card names samples as new trainings do: with their hashes."""
    split = Split(
        train=tuple(s.id for s in train),
        validation=tuple(s.id for s in validation),
        train_images=tuple(s.identity() for s in train),
        validation_images=tuple(s.identity() for s in validation),
    )
    card = ModelCard(name="weights", detector=detector.name, split=split)
    return Candidate(detector, detector.Options(), "weights", card, "ab" * 32)


def changed(one: Sample, path: Path, *, scale: float = 1.0, quality: int | None = None) -> Sample:
    """Return a sample whose file holds the photograph of `one`, reduced or encoded anew."""
    pixels = cv2.imread(str(one.image_path))
    pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    coding = [] if quality is None else [cv2.IMWRITE_JPEG_QUALITY, quality]
    assert cv2.imwrite(str(path), pixels, coding)
    return Sample(path.stem, path, annotated=frozenset({"MA"}))


def test_copies_of_a_training_image_are_found_whatever_their_names(
    dataset, contrast, tmp_path
) -> None:
    first, second, third = dataset
    candidate = by_content(contrast, train=[first], validation=[second])
    copies = [
        changed(first, tmp_path / "renamed.png"),
        changed(first, tmp_path / "half.png", scale=0.5),
        changed(first, tmp_path / "smaller.jpg", scale=0.75, quality=75),
        changed(first, tmp_path / "jpeg.jpg", quality=90),
    ]
    assert candidate.trained_on([*copies, second, third]) == copies
    assert candidate.held_back([*copies, second, third]) == [second]
    assert not candidate.names_only


def test_another_photograph_of_the_same_name_was_not_trained_on(
    dataset, contrast, tmp_path
) -> None:
    first, second, third = dataset
    candidate = by_content(contrast, train=[first], validation=[second])
    other = changed(third, tmp_path / f"{first.image_path.stem}.png")
    assert other.id == first.id
    assert candidate.trained_on([other]) == []
    report = evaluate_dataset([third], [candidate], protocols=["aupr"], resamples=10)
    assert report.warnings == []


def test_a_photograph_that_cannot_be_read_is_left_to_the_evaluation(contrast, dataset) -> None:
    candidate = by_content(contrast, train=dataset[:1])
    assert candidate.trained_on([sample("eye0")]) == []


def test_of_cards_without_hashes_it_is_told_that_names_alone_were_compared(
    dataset, contrast
) -> None:
    card = trained(contrast, train=["elsewhere"])
    report = evaluate_dataset(dataset[:1], [card], protocols=["aupr"], resamples=10)
    (told,) = report.warnings
    assert "only names could be compared" in told
