"""The report before the start: leaks are found, what is odd is told, text and JSON say the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

from napari_fundus.checkpoints import Split
from napari_fundus.errors import LeakageError, TrainingError
from napari_fundus.image_identity import MAX_DISTANCE, ImageIdentity
from napari_fundus.training import DataSummary, Preflight, SampleSummary, SplitSummary
from napari_fundus.training.loop.preflight import check_data, find_leaks, split_report


def part(*samples: tuple[str, str | None], lesions: int = 3) -> SplitSummary:
    return SplitSummary(
        [SampleSummary(i, g, {"MA": lesions}) for i, g in samples], {"with lesion": 1234567}
    )


CLEAN = DataSummary(part(("a", "1"), ("b", "1"), ("c", "2")), part(("d", "3")))


def test_groups_within_one_part_are_no_leak() -> None:
    assert find_leaks(CLEAN) == ()
    assert check_data(CLEAN, allow_leakage=False) == ((), ())


def test_an_image_in_both_parts_is_a_leak_even_without_groups() -> None:
    facts = DataSummary(part(("a", None)), part(("a", None), ("b", None)))
    assert find_leaks(facts) == ("a is in training and validation.",)


def test_two_images_of_one_eye_in_both_parts_are_a_leak() -> None:
    facts = DataSummary(part(("a", "1")), part(("b", "1"), ("c", "2")))
    with pytest.raises(
        LeakageError, match=r"b \(validation\) shows the same eye as a \(training\)"
    ):
        check_data(facts, allow_leakage=False)
    leaks, _ = check_data(facts, allow_leakage=True)
    assert len(leaks) == 1


def test_an_id_that_equals_a_groups_name_is_no_leak() -> None:
    assert find_leaks(DataSummary(part(("x", "1")), part(("y", "x")))) == ()


def test_validating_on_what_the_starting_weights_have_seen_is_a_leak() -> None:
    with pytest.raises(LeakageError, match=r"d \(validation\) was seen"):
        check_data(CLEAN, allow_leakage=False, seen_before=Split(train=("d",)))


def looks(name: str, *, bits: int = 0, exact: str = "") -> SampleSummary:
    """Return an image of no known eye whose perceptual hash has so many bits set."""
    sha256 = (exact or name) * 64
    known = ImageIdentity(name=name, sha256=sha256, perceptual=f"{(1 << bits) - 1:064x}")
    return SampleSummary(name, None, {"MA": 3}, identity=known)


def test_one_photograph_under_two_names_is_a_leak() -> None:
    facts = DataSummary(SplitSummary([looks("a")]), SplitSummary([looks("b", exact="a")]))
    with pytest.raises(LeakageError, match=r"b \(validation\) is the same photograph as a"):
        check_data(facts, allow_leakage=False)


def test_what_looks_like_a_copy_is_told() -> None:
    facts = DataSummary(
        SplitSummary([looks("a")]),
        SplitSummary([looks("b", bits=MAX_DISTANCE), looks("c", bits=MAX_DISTANCE + 1)]),
    )
    leaks, warnings = check_data(facts, allow_leakage=False)
    assert leaks == ()
    assert warnings[0] == "b (validation) looks like a copy of a (training)."
    assert not any("c (validation)" in warning for warning in warnings)


def test_what_the_starting_weights_have_seen_goes_by_content_where_it_is_known() -> None:
    facts = DataSummary(SplitSummary([looks("a")]), SplitSummary([looks("b", bits=200)]))
    (seen,) = SplitSummary([looks("c", exact="b", bits=200)]).identities()
    with pytest.raises(LeakageError, match=r"b \(validation\) was seen"):
        check_data(
            facts, allow_leakage=False, seen_before=Split(train=("c",), train_images=(seen,))
        )
    (other,) = SplitSummary([looks("d", bits=100)]).identities()
    of_that_name = Split(train=("b",), train_images=(other,))
    assert check_data(facts, allow_leakage=False, seen_before=of_that_name)[0] == ()


@pytest.mark.parametrize(
    "facts", [DataSummary(CLEAN.train, part()), DataSummary(part(), CLEAN.train)]
)
def test_an_empty_part_is_refused(facts: DataSummary) -> None:
    with pytest.raises(TrainingError, match="no image"):
        check_data(facts, allow_leakage=True)


def test_classes_without_lesions_and_unknown_groups_are_told() -> None:
    facts = DataSummary(CLEAN.train, part(("d", None), lesions=0))
    _, warnings = check_data(facts, allow_leakage=False)
    assert "validation part holds no lesion of class MA" in warnings[0]
    assert "1 of 4 images" in warnings[1]


def test_text_and_json_tell_the_figures() -> None:
    report = Preflight(
        task="voting",
        device="cpu",
        precision="float32",
        scheme="interleaved",
        train=split_report(CLEAN.train),
        validation=split_report(CLEAN.validation),
        warnings=("Something is odd.",),
        parameters=200,
        trainable=100,
        steps_per_epoch=10,
        max_epochs=60,
        seconds_per_step=0.5,
        estimated_seconds=300.0,
    )
    text = report.text()
    for piece in (
        "3 images",
        "MA 9",
        "with lesion 1,234,567",
        "50.00%",
        "at most 5 min",
        "WARNING",
    ):
        assert piece in text
    assert Preflight.model_validate_json(report.model_dump_json()) == report


def test_settings_and_events_can_be_used_without_torch() -> None:
    """A form or the command line's help must not wait for it."""
    code = (
        "import sys, napari_fundus.training; assert not {'torch', 'lightning'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
