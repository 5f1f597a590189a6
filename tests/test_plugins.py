"""Discovery: strangers' detectors are found, broken ones are listed and hide nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from napari_fundus import plugins
from napari_fundus.errors import UnknownDetectorError
from napari_fundus.plugins import Discovery, PluginProblem, discover, find_detectors, get_detector

TEMPLATE = Path(__file__).parents[1] / "examples" / "napari-fundus-plugin-template"

GOOD = """
from napari_fundus.detector import Detector, Prediction, hookimpl

class Good(Detector):
    name, title, summary, lesions = {name!r}, "Good", "Works.", ("MA",)
    def predict(self, image, options, *, device, monitor):
        return Prediction({{}})

@hookimpl
def napari_fundus_detectors():
    return [Good]
"""

BROKEN = {
    "import_error": ("import no_such_module", "ModuleNotFoundError.*no_such_module"),
    "syntax_error": ("def (", "SyntaxError"),
    "exits": ("raise SystemExit('bye')", "SystemExit: bye"),
    "hook_raises": (
        "from napari_fundus.detector import hookimpl\n"
        "@hookimpl\n"
        "def napari_fundus_detectors(): raise RuntimeError('no licence server')",
        "RuntimeError: no licence server",
    ),
    "no_hook": ("x = 1", "no function napari_fundus_detectors"),
    "wrong_hook_name": (
        "from napari_fundus.detector import hookimpl\n@hookimpl\ndef detectors(): return []",
        "detectors",
    ),
    "not_a_list": (
        "from napari_fundus.detector import hookimpl\n"
        "@hookimpl\n"
        "def napari_fundus_detectors(): return 'tophat'",
        "returned str, not a list",
    ),
    "wrong_type": (
        "from napari_fundus.detector import hookimpl\n"
        "@hookimpl\n"
        "def napari_fundus_detectors(): return [dict]",
        "not a subclass",
    ),
    "no_title": (
        GOOD.format(name="untitled").replace('"Good", ', '"", '),
        "states no title",
    ),
    "bad_name": (GOOD.format(name="Not good"), "lower-case"),
    "abstract": (GOOD.format(name="abstract").replace("def predict", "def other"), "abstract"),
    "option_without_default": (
        GOOD.format(name="needy").replace(
            "    def predict",
            "    from napari_fundus.detector import DetectorOptions\n"
            "    class Options(DetectorOptions):\n"
            "        level: int\n"
            "    def predict",
        ),
        "level",
    ),
    "lesions_as_text": (
        GOOD.format(name="flat").replace('("MA",)', '"MA"'),
        "lesions is not a collection",
    ),
    "no_devices": (
        GOOD.format(name="nowhere").replace("    def pre", "    devices = None\n    def pre"),
        "devices is not a collection",
    ),
    "version_as_number": (
        GOOD.format(name="numbered").replace("    def pre", "    version = 1\n    def pre"),
        "version is not text",
    ),
    "option_that_json_cannot_hold": (
        GOOD.format(name="callable").replace(
            "    def predict",
            "    from napari_fundus.detector import DetectorOptions\n"
            "    class Options(DetectorOptions):\n"
            "        function: object = print\n"
            "    def predict",
        ),
        "serialize",
    ),
    "wrong_options": (
        GOOD.format(name="odd").replace("    def predict", "    Options = dict\n    def predict"),
        "not a subclass of DetectorOptions",
    ),
}

Plugin = Callable[[str, str], metadata.EntryPoint]


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plugin:
    """Write a module and return its entry point."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, code: str) -> metadata.EntryPoint:
        module = f"plugin_{tmp_path.name}_{name}"
        (tmp_path / f"{module}.py").write_text(code)
        return metadata.EntryPoint(name, module, "napari_fundus")

    return write


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plugin_is_listed_with_its_reason_and_hides_nothing(
    plugin: Plugin, kind: str
) -> None:
    code, reason = BROKEN[kind]
    found = discover(
        [
            plugin("aaa", GOOD.format(name="first")),
            plugin(kind, code),
            plugin("zzz", GOOD.format(name="last")),
        ]
    )
    assert list(found.detectors) == ["first", "last"]
    (problem,) = found.problems
    assert problem.plugin == kind
    assert re.search(reason, problem.reason), problem.reason


def test_of_two_detectors_with_one_name_the_first_is_kept(plugin: Plugin) -> None:
    found = discover([plugin("a", GOOD.format(name="same")), plugin("b", GOOD.format(name="same"))])
    assert list(found.detectors) == ["same"]
    assert found.problems == (PluginProblem("b", "unknown", found.problems[0].reason),)
    assert "'same' is taken" in found.problems[0].reason


def test_a_stranger_cannot_take_the_name_of_a_built_in_detector(plugin: Plugin) -> None:
    built_in = tuple(metadata.entry_points(group="napari_fundus"))
    found = discover([plugin("aaa", GOOD.format(name="tophat")), *built_in])
    assert found.sources["tophat"] == "napari-fundus"
    assert [p.plugin for p in found.problems] == ["aaa"]


def test_the_built_in_detectors_come_through_the_same_hook_without_a_problem() -> None:
    found = find_detectors()
    assert found.sources["tophat"] == "napari-fundus"
    assert not [p for p in found.problems if p.distribution == "napari-fundus"]


def test_an_unknown_name_is_answered_with_what_there_is_and_what_is_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = PluginProblem("voting2", "some-dist", "ImportError: no module voting2")
    found = Discovery(find_detectors().detectors, {}, (problem,))
    monkeypatch.setattr(plugins, "find_detectors", lambda: found)
    with pytest.raises(UnknownDetectorError, match=r"tophat.*voting2.*ImportError"):
        get_detector("voting2")


@pytest.fixture(scope="module")
def installed_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build and install the template as a user's pip would, into a folder of its own."""
    target = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--no-deps", "--no-build-isolation", "--no-index", "--target", target, TEMPLATE],
        check=True,
    )  # fmt: skip
    return target


def test_the_template_is_discovered_as_a_real_entry_point_and_finds_lesions(
    installed_template: Path,
) -> None:
    code = (
        "import json, napari_fundus as nf\n"
        "from napari_fundus.samples import normal_image_path\n"
        "found = nf.find_detectors()\n"
        "result = nf.detect(normal_image_path(), 'dog', diameter=10)\n"
        "print(json.dumps([sorted(found.detectors), found.sources['dog'], len(result.instances)]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(installed_template)},
        capture_output=True,
        text=True,
        check=True,
    )
    names, source, lesions = json.loads(run.stdout)
    assert {"dog", "tophat"} <= set(names)
    assert source == "napari-fundus-plugin-template"
    assert lesions > 0


def test_the_template_passes_its_own_tests(installed_template: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, TEMPLATE / "tests"],
        env={**os.environ, "PYTHONPATH": str(installed_template)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout


def test_the_template_is_under_60_lines() -> None:
    assert len((TEMPLATE / "src/fundus_dog/__init__.py").read_text().splitlines()) < 60
