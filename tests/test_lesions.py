"""The vocabulary knows what data sets call the classes, and stays open to others."""

from __future__ import annotations

import re

import pytest

from napari_fundus.lesions import DR_LESIONS, Lesion, describe, parse_lesion


@pytest.mark.parametrize(
    ("name", "lesion"),
    [
        ("1. Microaneurysms", Lesion.MA),
        ("Red_small_dots", Lesion.MA),
        ("2. Haemorrhages", Lesion.HE),
        ("hemorrhages", Lesion.HE),
        ("HARDEXUDATES", Lesion.EX),
        ("3. Hard Exudates", Lesion.EX),
        ("4. Soft Exudates", Lesion.SE),
        ("softexudates", Lesion.SE),
        ("cotton-wool spots", Lesion.SE),
        ("5. Optic Disc", Lesion.OD),
        ("Neovascularisation", Lesion.NV),
        ("IRMA", Lesion.IRMA),
        ("ma", Lesion.MA),
        ("Fovea", Lesion.FOVEA),
    ],
)
def test_names_of_the_public_data_sets_are_understood(name: str, lesion: Lesion) -> None:
    assert parse_lesion(name) is lesion


@pytest.mark.parametrize("name", ["", "drusen", "Fundus_area", "123", "MAE"])
def test_other_names_are_none(name: str) -> None:
    assert parse_lesion(name) is None


@pytest.mark.parametrize("lesion", Lesion)
def test_every_name_of_a_class_leads_back_to_it(lesion: Lesion) -> None:
    info = describe(lesion)
    for name in (info.code, info.name, info.plural, *info.aliases):
        assert parse_lesion(name) is lesion


def test_members_are_their_codes() -> None:
    assert {"MA": 1}[Lesion.MA] == 1
    assert f"{Lesion.EX}" == "EX"
    assert [str(lesion) for lesion in DR_LESIONS] == ["MA", "HE", "EX", "SE"]


def test_colours_are_distinct_hex_values() -> None:
    colours = [describe(lesion).colour for lesion in Lesion]
    assert len(set(colours)) == len(colours)
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)


def test_red_and_bright_lesions_are_told_apart() -> None:
    assert [describe(code).kind for code in DR_LESIONS] == ["red", "red", "bright", "bright"]


def test_an_unknown_code_gets_a_neutral_entry_of_its_own() -> None:
    info = describe("DRUSEN")
    assert (info.code, info.name, info.kind) == ("DRUSEN", "DRUSEN", "other")
    assert info.colour not in {describe(lesion).colour for lesion in Lesion}
