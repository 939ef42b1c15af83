"""The name of a part in fingerprints does not depend on the file that its class is in."""

import ast
import dataclasses
import importlib
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ablate.model
import maskers
from ablate.core.part_classes import get_part_name
from ablate.model.masking import AbstractMasker
from ablate.model.vit import ViT
from ablate.parts import PartError, build, get_identity, replace_settings, resolve
from ablate.study import run as study

ROOT = Path(__file__).parents[1]
Package = Callable[[dict[str, str]], None]

TILTED = """\
from dataclasses import dataclass
import maskers
from ablate.model.masking import AbstractMasker


@dataclass(frozen=True, kw_only=True)
class Tilted(AbstractMasker):
    ratio: float = 0.6
    inner: AbstractMasker | None = None

    @property
    def promises(self):
        return maskers.Random(ratio=self.ratio).promises

    def draw(self, clips, generator):
        return maskers.Random(ratio=self.ratio).draw(clips, generator)
"""


@pytest.fixture
def write_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    """Returns a function that replaces the files of the package `my_lab` and unloads it."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def unload() -> None:
        for module in [name for name in sys.modules if name.partition(".")[0] == "my_lab"]:
            del sys.modules[module]

    def write(files: dict[str, str]) -> None:
        folder = tmp_path / "my_lab"
        folder.mkdir(exist_ok=True)
        for path in folder.glob("*.py"):
            path.unlink()
        for name, text in {"__init__.py": "", **files}.items():
            (folder / name).write_text(text)
        unload()
        importlib.invalidate_caches()

    yield write
    unload()


def build_masker(**settings: Any) -> AbstractMasker:
    return build(settings, expect=AbstractMasker)


def compute_identity(path: str, **settings: Any) -> dict[str, Any]:
    return get_identity(build_masker(type=path, **settings))


def test_a_re_export_of_our_class_does_not_rename_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = get_identity(ViT())
    monkeypatch.setattr(ablate.model, "ViT", ViT, raising=False)
    assert get_identity(ViT()) == before
    by_alias = build({"type": "ablate.model.ViT"}, expect=object)
    assert get_identity(by_alias) == before
    assert before["type"] == "ablate.model.vit.ViT"


def test_a_masker_of_the_zoo_is_named_without_its_file() -> None:
    by_file = build_masker(type="maskers.blocks.MultiBlock")
    assert get_part_name(by_file) == "maskers.MultiBlock"
    assert resolve(by_file)["type"] == "maskers.MultiBlock"


def test_a_re_export_of_a_user_class_does_not_rename_it(write_package: Package) -> None:
    write_package({"tilted.py": TILTED})
    before = compute_identity("my_lab.tilted.Tilted")
    write_package({"tilted.py": TILTED, "__init__.py": "from my_lab.tilted import Tilted"})
    assert compute_identity("my_lab.tilted.Tilted") == before


def test_moving_the_file_of_a_user_class_with_an_alias_does_not_rename_it(
    write_package: Package,
) -> None:
    inner = {"type": "my_lab.tilted.Tilted", "ratio": 0.5}
    write_package({"tilted.py": TILTED})
    before = compute_identity("my_lab.tilted.Tilted", inner=inner)
    write_package({"slanted.py": TILTED, "tilted.py": "from my_lab.slanted import Tilted"})
    assert compute_identity("my_lab.tilted.Tilted", inner=inner) == before


def test_a_declared_name_stays_without_an_alias(write_package: Package) -> None:
    write_package({"tilted.py": TILTED})
    before = compute_identity("my_lab.tilted.Tilted")
    declared = TILTED.replace("    ratio", '    part = "my_lab.tilted.Tilted"\n\n    ratio')
    write_package({"slanted.py": declared})
    moved = build_masker(type="my_lab.slanted.Tilted")
    assert get_identity(moved) == before
    assert build_masker(**resolve(moved)) == moved


def test_a_subclass_does_not_inherit_a_declared_name(write_package: Package) -> None:
    declared = TILTED.replace("    ratio", '    part = "tilted"\n\n    ratio')
    subclass = "\n\n@dataclass(frozen=True, kw_only=True)\nclass Steep(Tilted):\n    pass\n"
    write_package({"tilted.py": declared + subclass})
    assert compute_identity("my_lab.tilted.Tilted")["type"] == "tilted"
    assert compute_identity("my_lab.tilted.Steep")["type"] == "my_lab.tilted.Steep"


def test_a_package_may_name_its_parts_without_their_files(write_package: Package) -> None:
    export = "FLAT_PART_NAMES = True\nfrom my_lab.tilted import Tilted\n"
    write_package({"tilted.py": TILTED, "__init__.py": export})
    before = compute_identity("my_lab.tilted.Tilted")
    write_package({"slanted.py": TILTED, "__init__.py": export.replace("tilted", "slanted")})
    assert compute_identity("my_lab.slanted.Tilted") == before == compute_identity("my_lab.Tilted")


def test_a_package_with_flat_names_must_export_its_parts(write_package: Package) -> None:
    write_package({"tilted.py": TILTED, "__init__.py": "FLAT_PART_NAMES = True"})
    with pytest.raises(PartError, match=r"import the class in `my_lab/__init__\.py`"):
        build_masker(type="my_lab.tilted.Tilted")


def test_the_name_of_another_part_is_an_error(write_package: Package) -> None:
    declared = TILTED.replace("    ratio", '    part = "maskers.Random"\n\n    ratio')
    write_package({"tilted.py": declared})
    with pytest.raises(PartError, match=r"`maskers\.Random`, which is another class"):
        build_masker(type="my_lab.tilted.Tilted")


def test_resolved_settings_build_a_part_of_the_same_identity(write_package: Package) -> None:
    write_package({"tilted.py": TILTED, "__init__.py": "from my_lab.tilted import Tilted"})
    inner = {"type": "maskers.Random", "ratio": 0.5}
    part = build_masker(type="my_lab.Tilted", inner={"type": "my_lab.Tilted", "inner": inner})
    again = build_masker(**resolve(part))
    assert again == part
    assert get_identity(again) == get_identity(part)
    assert get_identity(part)["inner"]["type"] == "my_lab.Tilted"


def test_changed_settings_keep_the_name(write_package: Package) -> None:
    write_package({"tilted.py": TILTED, "__init__.py": "from my_lab.tilted import Tilted"})
    part = replace_settings(build_masker(type="my_lab.Tilted"), ratio=0.7)
    assert get_identity(part) == compute_identity("my_lab.Tilted", ratio=0.7)


def test_a_part_with_slots_keeps_its_name(write_package: Package) -> None:
    slotted = TILTED.replace("kw_only=True)", "kw_only=True, slots=True)")
    write_package({"tilted.py": slotted, "__init__.py": "from my_lab.tilted import Tilted"})
    part = build_masker(type="my_lab.Tilted")
    assert dataclasses.asdict(part) == {"ratio": 0.6, "inner": None}
    assert get_part_name(part) == "my_lab.Tilted"


def test_every_masker_of_the_zoo_has_a_name_of_its_own() -> None:
    classes = [getattr(maskers, name) for name in maskers.__all__]
    assert len({get_class_name(cls) for cls in classes}) == len(classes)


def get_class_name(cls: type) -> str:
    return get_part_name(object.__new__(cls))


STUDY = """\
study: moved
baseline:
  data: {type: ablate.audio.synthetic.Synthetic, clips_per_class: 2}
  mel: {type: ablate.audio.mel.LogMel, bands: 32}
  crop_frames: 64
  patchifier: {type: ablate.model.patchify.Rectangles, freq: 16, time: 16}
  masker: {type: my_lab.tilted.Tilted}
  encoder: {type: ablate.model.vit.ViT, dim: 16, layers: 1, heads: 2}
  predictor: {type: ablate.model.predictor.Joint, dim: 16, layers: 1, heads: 2}
  objective: {type: ablate.model.objectives.SmoothL1}
  budget: {steps: 2, batch: 4}
factors:
  masker: {tilted: {type: my_lab.tilted.Tilted}, random: {type: maskers.Random}}
seeds: 1
probes: {knn: {type: ablate.probing.knn.KNN, k: 3}}
score: knn.mean
"""


def test_a_finished_study_trains_nothing_after_a_re_export_and_a_move(
    workdir: Path, write_package: Package, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(workdir)]))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    write_package({"tilted.py": TILTED})
    Path("study.yaml").write_text(STUDY)
    assert study.run_study(Path("study.yaml"), workers=1) == study.DONE
    write_package(
        {
            "slanted.py": TILTED,
            "tilted.py": "from my_lab.slanted import Tilted",
            "__init__.py": "from my_lab.slanted import Tilted",
        }
    )
    capsys.readouterr()
    assert study.plan_study(Path("study.yaml"), as_json=True) == study.DONE
    pending = json.loads(capsys.readouterr().out)["backlog"]
    assert (pending["trainings"], pending["references"], pending["scores"]) == (0, 0, 0)
    assert pending["done"] == 4


@pytest.mark.parametrize(
    ("former", "present"),
    [
        ("ablate.model.stems.Linear", "ablate.model.stems.LinearStem"),
        ("ablate.model.stems.Waveform", "ablate.model.stems.WaveformStem"),
        (
            "ablate.training.augmentation.SpecAugment",
            "ablate.training.augmentation.SpecAugmentation",
        ),
    ],
)
def test_a_renamed_part_keeps_its_former_path_and_its_identity(former: str, present: str) -> None:
    one, other = (build({"type": path}, expect=object) for path in (former, present))
    assert type(one) is type(other)
    assert get_identity(one) == get_identity(other)
    assert get_part_name(one) == former


def test_no_two_public_classes_share_a_name() -> None:
    files = [file for package in ("ablate", "maskers") for file in (ROOT / package).rglob("*.py")]
    names = [
        node.name
        for file in files
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    assert [name for name, count in Counter(names).items() if count > 1] == []
