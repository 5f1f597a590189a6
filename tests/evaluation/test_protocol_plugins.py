"""Protocols of plugins: found by their entry points, isolated when broken, drawn in reports."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_fundus.errors import OptionsError
from napari_fundus.evaluation import discover_protocols, find_protocols, get_protocol
from napari_fundus.evaluation.protocols import discovery

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "examples" / "napari-fundus-protocol-template"
CODE = TEMPLATE / "src" / "fundus_counts" / "__init__.py"

BROKEN = {
    "import_error": ("import no_such_module", "ModuleNotFoundError.*no_such_module"),
    "wrong_type": (
        "from napari_fundus.plugin_hooks import hookimpl\n"
        "@hookimpl\n"
        "def napari_fundus_protocols(): return [dict]",
        "not a subclass of .*EvaluationProtocol",
    ),
    "no_title": (CODE.read_text().replace('"Number of lesions"', '""'), "states no title"),
    "no_metrics": (CODE.read_text().replace("def metrics", "def other"), "does not define metrics"),
    "taken": (CODE.read_text().replace('"count_error"', '"froc"'), "'froc' is taken"),
}


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, code: str) -> metadata.EntryPoint:
        module = f"protocol_{tmp_path.name}_{name}"
        (tmp_path / f"{module}.py").write_text(code)
        return metadata.EntryPoint(name, module, "napari_fundus")

    return write


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plugin_is_listed_with_its_reason_and_hides_nothing(plugin, kind) -> None:
    code, reason = BROKEN[kind]
    found = discover_protocols([plugin(kind, code), plugin("zzz", CODE.read_text())])
    assert list(found.items)[:3] == ["aupr", "froc", "overlap"]
    assert "count_error" in found.items
    (problem,) = found.problems
    assert problem.plugin == kind
    assert re.search(reason, problem.reason), problem.reason


def test_the_built_in_protocols_have_no_problem() -> None:
    found = find_protocols()
    assert {found.sources[name] for name in ("aupr", "localization")} == {"napari-fundus"}
    assert not [p for p in found.problems if p.distribution == "napari-fundus"]


def test_an_unknown_name_lists_the_plugins_left_out(plugin, monkeypatch) -> None:
    broken = discover_protocols([plugin("absent", "import no_such_module")])
    monkeypatch.setattr(discovery, "find_protocols", lambda: broken)
    with pytest.raises(OptionsError, match=r"'nope'.*aupr.*absent.*no_such_module"):
        get_protocol("nope")


def test_an_installed_protocol_has_its_table_and_its_curve_plotted(make_folder, tmp_path) -> None:
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--no-deps", "--no-build-isolation", "--no-index", "--target", site, TEMPLATE],
        check=True,
    )  # fmt: skip
    folder = make_folder(tmp_path / "set").root
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    run = subprocess.run(
        [sys.executable, "-m", "napari_fundus.cli", "evaluate", folder, "-d", "tophat",
         "-p", "froc,count_error", "--resamples", "10", "-o", tmp_path / "report"],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    (detector,) = content["detectors"]
    errors = detector["figures"]["count_error"]["MA"]
    curve = detector["curves"]["count_error"]["MA"]
    assert errors["mean error"]["estimate"] == pytest.approx(np.mean(curve["x"]))
    assert curve["y"][-1] == 1
    text = (tmp_path / "report" / "report.md").read_text()
    assert "## Number of lesions" in text
    assert "(count_error.png)" in text
    picture = np.asarray(Image.open(tmp_path / "report" / "count_error.png").convert("RGB"))
    assert (np.abs(picture.astype(int) - (0, 0x72, 0xB2)).sum(axis=-1) < 30).sum() > 100


def test_the_example_is_the_page_s_and_under_80_lines() -> None:
    page = (ROOT / "docs" / "howto" / "write-a-protocol.md").read_text()
    assert CODE.relative_to(ROOT).as_posix() in page
    assert len(CODE.read_text().splitlines()) < 80
