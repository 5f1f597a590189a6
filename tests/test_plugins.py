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
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from napari_fundus import plugins
from napari_fundus.datasets import dataset_classes, discovery, open_dataset
from napari_fundus.datasets.folder import FolderDataset
from napari_fundus.errors import DatasetError, UnknownDetectorError
from napari_fundus.plugins import Discovery, PluginProblem, discover, find_detectors, get_detector

EXAMPLES = Path(__file__).parents[1] / "examples"
TEMPLATE = EXAMPLES / "napari-fundus-plugin-template"
DATASET_TEMPLATE = EXAMPLES / "napari-fundus-dataset-template"
NETWORK_TEMPLATE = EXAMPLES / "napari-fundus-network-template"

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
    "base_exception": ("raise BaseException('gone')", "BaseException: gone"),
    "generator_exit": ("raise GeneratorExit", "GeneratorExit"),
    "unprintable": (
        "class Mute(Exception):\n    def __str__(self): raise SystemExit\nraise Mute",
        "Mute, whose message cannot be printed",
    ),
    "escapes": ("raise RuntimeError('\\x1b[2J')", r"RuntimeError: \\x1b\[2J"),
    "lesions_as_numbers": (GOOD.format(name="n").replace('("MA",)', "(1, 2)"), "not text"),
    "lesions_as_paths": (GOOD.format(name="n").replace('("MA",)', '("../MA",)'), "no name of a"),
    "lesions_twice": (GOOD.format(name="n").replace('("MA",)', '("MA", "ma")'), "named twice"),
    "lesions_as_columns": (GOOD.format(name="n").replace('("MA",)', '("status",)'), "column"),
    "devices_as_numbers": (
        GOOD.format(name="n").replace("    def pre", "    devices = (1,)\n    def pre"),
        "devices is not a collection of names",
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


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[napari_fundus]\nbad = \xff\xfe\n", "UnicodeDecodeError"),
        (b"[napari_fundus]\nno equals sign\n", ""),
        (b"a = b\n[napari_fundus\nx = \n", ""),
        (b"[napari_fundus]\nwords = not a module\n", ""),
    ],
    ids=["not UTF-8", "no value", "no section", "no module"],
)
def test_a_list_of_entry_points_that_cannot_be_read_hides_no_other(
    content: bytes, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, entry_points in {
        "broken": content,
        "sound": b"[napari_fundus]\nsound = sound_plugin\n",
    }.items():
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_bytes(entry_points)
    (tmp_path / "sound_plugin.py").write_text(GOOD.format(name="sound"))
    monkeypatch.syspath_prepend(tmp_path)
    found = discover()
    assert {"sound", "tophat"} <= set(found.detectors)
    problems = {p.distribution: p.reason for p in found.problems}
    assert reason in problems.get("broken", "")
    assert not reason or "broken" in problems


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


READER = """
from napari_fundus.datasets import Dataset
from napari_fundus.plugin_hooks import hookimpl

class Reader(Dataset):
    name, title, layout = {name!r}, "A reader", "a file 'theirs'"
    @classmethod
    def recognize(cls, folder):
        return folder if (folder / "theirs").exists() else None
    @classmethod
    def open(cls, root):
        return cls(root, [])

@hookimpl
def napari_fundus_datasets():
    return [Reader]
"""

BROKEN_READERS = {
    "import_error": ("import no_such_module", "ModuleNotFoundError.*no_such_module"),
    "hook_raises": (READER.replace("return [Reader]", "raise RuntimeError('no disk')"), "no disk"),
    "not_a_list": (READER.replace("return [Reader]", "return 7"), "returned int, not a list"),
    "wrong_type": (READER.replace("return [Reader]", "return [dict]"), "not a subclass"),
    "no_layout": (READER.replace("\"a file 'theirs'\"", "''"), "states no layout"),
    "bad_name": (READER.replace("{name!r}", "'My data'"), "lower-case"),
    "abstract": (READER.replace("def open", "def read"), "abstract.*open"),
    "taken": (READER.replace("{name!r}", "'idrid'"), "'idrid' is taken by napari-fundus"),
}


@pytest.mark.parametrize("kind", BROKEN_READERS)
def test_a_broken_reader_is_listed_with_its_reason_and_hides_nothing(
    plugin: Plugin, kind: str
) -> None:
    code, reason = BROKEN_READERS[kind]
    found = discovery.discover_datasets(
        [
            plugin("aaa", READER.format(name="first")),
            plugin(kind, code.replace("{name!r}", repr(kind))),
            plugin("zzz", READER.format(name="last")),
        ]
    )
    names = [reader.name for reader in dataset_classes()]
    assert sorted(found.items) == sorted([*names, "first", "last"])
    (problem,) = found.problems
    assert problem.plugin == kind
    assert re.search(reason, problem.reason), problem.reason


def test_one_plugin_may_bring_a_detector_and_a_reader(plugin: Plugin) -> None:
    both = plugin("both", GOOD.format(name="good") + READER.format(name="theirs"))
    assert list(discover([both]).detectors) == ["good"]
    assert "theirs" in discovery.discover_datasets([both]).items


def test_a_detector_that_cannot_be_used_leaves_the_reader_of_its_plugin(plugin: Plugin) -> None:
    detector = GOOD.format(name="good").replace("return [Good]", "raise RuntimeError('no licence')")
    both = plugin("both", detector + READER.format(name="theirs"))
    found = discovery.discover_datasets([both])
    assert "theirs" in found.items
    assert not found.problems
    assert "no licence" in discover([both]).problems[0].reason


@pytest.fixture
def use_reader(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let a reader's code be that of the only plugin."""

    def use(code: str) -> None:
        found = discovery.discover_datasets([plugin("theirs", code.format(name="theirs"))])
        monkeypatch.setattr(discovery, "find_datasets", lambda: found)

    return use


def test_a_reader_that_fails_to_recognize_is_left_out_with_a_warning(
    use_reader: Callable[[str], None], tmp_path: Path
) -> None:
    use_reader(READER.replace("return folder if", "1 / 0; return folder if"))
    (tmp_path / "eye.jpg").touch()
    with pytest.warns(UserWarning, match="reader 'theirs' of unknown failed.*ZeroDivisionError"):
        opened = open_dataset(tmp_path)
    assert type(opened) is FolderDataset
    with pytest.raises(DatasetError, match="ZeroDivisionError"):
        open_dataset(tmp_path, "theirs")


@pytest.mark.parametrize(
    ("broken", "reason"),
    [("return [1][1]", "IndexError"), ("return 7", "open returned int")],
)
def test_a_reader_that_fails_to_open_is_named(
    use_reader: Callable[[str], None], tmp_path: Path, broken: str, reason: str
) -> None:
    use_reader(READER.replace("return cls(root, [])", broken))
    (tmp_path / "theirs").touch()
    with pytest.raises(DatasetError, match=f"reader 'theirs' of unknown failed.*{reason}"):
        open_dataset(tmp_path)


def test_a_broken_reader_is_told_where_a_folder_is_no_known_data_set(
    use_reader: Callable[[str], None], tmp_path: Path
) -> None:
    use_reader("import no_such_module")
    with pytest.raises(DatasetError, match="plugin 'theirs' of unknown: ModuleNotFoundError"):
        open_dataset(tmp_path)
    with pytest.raises(DatasetError, match=r"called 'nope'.*no_such_module"):
        open_dataset(tmp_path, "nope")


def install(source: Path, target: Path) -> Path:
    """Build and install a distribution as a user's pip would, into a folder of its own."""
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--no-deps", "--no-build-isolation", "--no-index", "--target", target, source],
        check=True,
    )  # fmt: skip
    return target


def run_with(site: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python with an installed distribution in reach."""
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    return subprocess.run(
        [sys.executable, *map(str, words)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def installed_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template of a detector, installed."""
    return install(TEMPLATE, tmp_path_factory.mktemp("site"))


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
    run = run_with(installed_template, "-c", code)
    assert run.returncode == 0, run.stderr
    names, source, lesions = json.loads(run.stdout)
    assert {"dog", "tophat"} <= set(names)
    assert source == "napari-fundus-plugin-template"
    assert lesions > 0


@pytest.fixture(scope="module")
def installed_reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template of a reader of a data set, installed."""
    return install(DATASET_TEMPLATE, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def installed_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The templates of a trainable detector and of a reader of a data set, installed."""
    site = tmp_path_factory.mktemp("site")
    install(DATASET_TEMPLATE, site)
    return install(NETWORK_TEMPLATE, site)


@pytest.fixture
def marks(tmp_path: Path, draw: Callable[..., Any]) -> Path:
    """A folder in the layout of the template: photographs with their microaneurysms marked."""
    folder = tmp_path / "marks"
    (folder / "photographs").mkdir(parents=True)
    rows = ["image,split,lesion,x,y,radius"]
    for name, split in (("one", "train"), ("two", "train"), ("three", "test")):
        retina = draw(160, 200, seed=len(rows))
        Image.fromarray(retina.pixels).save(folder / "photographs" / f"{name}.png")
        _, _, _, centres = cv2.connectedComponentsWithStats(retina.masks["MA"].astype(np.uint8))
        rows += [f"{name},{split},microaneurysm,{x:.1f},{y:.1f},3" for x, y in centres[1:]]
    (folder / "marks.csv").write_text("\n".join(rows))
    return folder


def run_command(site: Path, *words: str | Path) -> str:
    """Run ``napari-fundus`` with an installed distribution in reach; return what it prints."""
    run = run_with(site, "-m", "napari_fundus.cli", *words)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_an_installed_reader_is_listed_and_its_folders_are_opened_and_evaluated(
    installed_reader: Path, marks: Path, tmp_path: Path
) -> None:
    listed = json.loads(run_command(installed_reader, "datasets", "--json"))
    assert not listed["problems"]
    sources = {reader["name"]: reader["source"] for reader in listed["datasets"]}
    assert sources["marks"] == "napari-fundus-dataset-template"
    assert sources["idrid"] == "napari-fundus"
    summary = json.loads(run_command(installed_reader, "datasets", marks, "--json"))
    assert (summary["name"], summary["splits"]) == ("marks", {"train": 2, "test": 1})
    assert {c["code"]: c["lesions"] for c in summary["classes"]} == {"MA": 9, "HE": 0}
    words = ("-d", "tophat", "-p", "aupr", "-o", tmp_path / "report", "--json")
    report = json.loads(run_command(installed_reader, "evaluate", marks, *words))
    assert (report["data"]["name"], report["data"]["split"]) == ("marks", "test")


def test_an_installed_detector_is_listed_trained_and_finds_lesions_with_the_weights(
    installed_network: Path, marks: Path, tmp_path: Path
) -> None:
    described = json.loads(run_command(installed_network, "detectors", "tiny", "--json"))
    assert described["source"] == "napari-fundus-network-template"
    assert described["trainable"]
    assert described["options"]["properties"]["checkpoint"]["checkpoint_of"] == "tiny"
    assert {"width", "disc_diameter"} <= described["training_options"]["properties"].keys()

    changes = {
        "width": 4,
        "disc_diameter": 128,
        "max_epochs": 2,
        "steps_per_epoch": 3,
        "batch_size": 4,
        "validation_tiles": 10,
        "validation_share": 0.5,
        "dry_steps": 0,
    }
    words = [word for pair in changes.items() for word in ("--set", "{}={}".format(*pair))]
    first, second = tmp_path / "first", tmp_path / "second"
    at = ("--data", marks, "--device", "cpu", "--json")
    card = json.loads(run_command(installed_network, "train", "tiny", *at, "-o", first, *words))
    assert (card["detector"], card["lesions"]) == ("tiny", ["MA"])
    assert card["architecture"] == {"width": 4}
    assert sorted(card["split"]["train"] + card["split"]["validation"]) == ["one", "two"]

    weights = first / "best.safetensors"
    code = (
        "import json, sys, napari_fundus as nf\n"
        "found = nf.detect(sys.argv[1], 'tiny', checkpoint=sys.argv[2], device='cpu')\n"
        "probability = found.probability['MA']\n"
        "made_by = found.provenance\n"
        "print(json.dumps([made_by.detector, made_by.checkpoint, probability.shape, "
        "float(probability[80, 100]), float(probability[0, 0])]))"
    )
    run = run_with(installed_network, "-c", code, marks / "photographs" / "three.png", weights)
    assert run.returncode == 0, run.stderr
    detector, checkpoint, shape, centre, corner = json.loads(run.stdout)
    assert (detector, checkpoint, shape) == ("tiny", "first", [160, 200])
    assert 0 < centre < 1
    assert corner == 0, "off the field of view"

    go_on = [w for w in words if w != "width=4"][1:]
    card = json.loads(
        run_command(
            installed_network, "train", "tiny", *at, "-o", second, *go_on, "--checkpoint", weights
        )
    )
    assert card["architecture"] == {"width": 4}
    assert card["parent"]["name"] == "first"


@pytest.mark.parametrize("template", ["installed_template", "installed_reader"])
def test_a_template_passes_its_own_tests(template: str, request: pytest.FixtureRequest) -> None:
    source = {"installed_template": TEMPLATE, "installed_reader": DATASET_TEMPLATE}[template]
    run = run_with(
        request.getfixturevalue(template),
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, source / "tests"),
    )
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize("template", [TEMPLATE, NETWORK_TEMPLATE, DATASET_TEMPLATE])
def test_a_template_has_fewer_than_80_lines(template: Path) -> None:
    files = list((template / "src").rglob("*.py"))
    assert 0 < sum(len(path.read_text().splitlines()) for path in files) < 80
