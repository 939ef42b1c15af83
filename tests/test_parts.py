"""Parts are built from settings, and all problems of settings are reported at once."""

import os
import subprocess
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import pytest

import maskers
from ablate.core.part_classes import import_class
from ablate.model.masking import AbstractMasker
from ablate.parts import AS_BEFORE, NAMED_BEFORE, PartError, build, get_identity, resolve

CURRICULUM = {
    "type": "maskers.Curriculum",
    "start": {"type": "maskers.MultiBlock", "num_targets": 2},
    "end": {"type": "maskers.Random", "ratio": [0.4, 0.6]},
}


class AbstractShape(ABC):
    """The abstract class of the parts in these tests."""

    @property
    @abstractmethod
    def area(self) -> float:
        """The area in square units."""


@dataclass(frozen=True, kw_only=True)
class Square(AbstractShape):
    side: float
    colour: Literal["red", "blue"] = "red"
    corners: int = field(default=0, metadata={AS_BEFORE: 0})
    filled: bool = field(default=False, metadata={NAMED_BEFORE: "solid"})
    version: ClassVar[int] = 2

    @property
    def area(self) -> float:
        return self.side**2


@dataclass(frozen=True, kw_only=True)
class Stack(AbstractShape):
    shapes: tuple[AbstractShape, ...]
    top: AbstractShape | None = None

    @property
    def area(self) -> float:
        return max(shape.area for shape in self.shapes)


def list_problems(settings, expect=AbstractMasker) -> list[str]:
    with pytest.raises(PartError) as caught:
        build(settings, expect=expect)
    return [str(problem) for problem in caught.value.problems]


def test_nested_settings_with_a_type_are_built_first():
    expected = maskers.Curriculum(
        start=maskers.MultiBlock(num_targets=2), end=maskers.Random(ratio=(0.4, 0.6))
    )
    assert build(CURRICULUM, expect=AbstractMasker) == expected


def test_resolved_settings_have_every_default_and_build_the_same_part():
    part = build(CURRICULUM, expect=AbstractMasker)
    resolved = resolve(part)
    assert resolved["start"]["context_area"] == [0.85, 1.0]
    assert resolved["competence"] == 0.01
    assert build(resolved, expect=AbstractMasker) == part
    assert resolve(build(resolved, expect=AbstractMasker)) == resolved


def test_lists_of_parts_are_built(shapes):
    squares = [{"type": f"{shapes}.Square", "side": side} for side in (1, 2)]
    stack = build({"type": f"{shapes}.Stack", "shapes": squares}, expect=AbstractShape)
    assert [shape.side for shape in stack.shapes] == [1, 2]


def test_a_later_setting_is_not_in_the_identity_at_its_value_for_as_before(shapes):
    before = build({"type": f"{shapes}.Square", "side": 1}, expect=AbstractShape)
    assert "corners" not in get_identity(before)
    assert resolve(before)["corners"] == 0
    after = build({"type": f"{shapes}.Square", "side": 1, "corners": 4}, expect=AbstractShape)
    assert get_identity(after)["corners"] == 4


def test_a_renamed_setting_keeps_its_former_name_in_the_identity(shapes):
    square = {"type": f"{shapes}.Square", "side": 1}
    part = build({**square, "filled": True}, expect=AbstractShape)
    assert get_identity(part)["solid"] is True
    assert "filled" not in get_identity(part)
    assert resolve(part)["filled"] is True


def test_the_former_name_of_a_setting_is_accepted_but_not_beside_the_new_one(shapes):
    square = {"type": f"{shapes}.Square", "side": 1}
    assert build({**square, "solid": True}, expect=AbstractShape).filled
    [problem] = list_problems({**square, "filled": True, "solid": False}, AbstractShape)
    assert problem == "`solid`: `solid` is the former name of `filled`; write only `filled`"


def test_a_folder_that_hides_the_package_of_maskers_is_named(tmp_path: Path) -> None:
    (tmp_path / "maskers").mkdir()
    (tmp_path / "maskers/__init__.py").write_text("")
    code = "from ablate.core.part_classes import import_class; import_class('maskers.Random')"
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    command = [sys.executable, "-c", code]
    ended = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert f"{tmp_path}/maskers hides the package `maskers`" in ended.stderr
    assert "rename the folder" in ended.stderr


def test_a_declared_version_is_part_of_the_identity_and_must_match(shapes):
    part = build({"type": f"{shapes}.Square", "side": 1, "version": 2}, expect=AbstractShape)
    assert get_identity(part)["version"] == 2
    [problem] = list_problems({"type": f"{shapes}.Square", "side": 1, "version": 1}, AbstractShape)
    assert "made by version 1" in problem


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"type": "maskers.Randon"}, "`maskers` has no part `Randon` (did you mean `Random`?)"),
        ({"type": "masker.Random"}, "no module `masker`"),
        ({"type": "Random"}, "is not a dotted path"),
        ({"ratio": 0.5}, "needs a `type`"),
        ({"type": "maskers.Random", "ration": 0.5}, "unknown key `ration`"),
        ({"type": "maskers.Random", "ratio": "0.5"}, "got '0.5'"),
        ({"type": "maskers.Random", "ratio": 2.0}, "`ratio` must lie in [0, 1]"),
        ({"type": "maskers.MultiBlock", "num_targets": 2.5}, "expected int, got 2.5"),
        ({"type": "maskers.TimeFrequency", "axes": "tme"}, "`time` or `freq` or `both`, got 'tme'"),
        ({"type": "maskers.MultiBlock", "num_targets": True}, "got True"),
        ({"type": "maskers.Curriculum", "start": {"type": "maskers.Random"}}, "needs `end`"),
        ({"type": "ablate.model.vit.ViT"}, "is not of type AbstractMasker"),
        ("maskers.Random", "expected settings with a `type`, got 'maskers.Random'"),
    ],
)
def test_a_wrong_setting_is_an_error_with_its_value_and_the_remedy(settings, message):
    [problem] = list_problems(settings)
    assert message in problem


def test_all_problems_are_reported_at_once_each_with_its_path():
    settings = {
        "type": "maskers.Curriculum",
        "start": {"type": "maskers.Random", "ratio": 7.0},
        "end": {"type": "maskers.MultiBlock", "num_target": 3},
        "competence": "high",
    }
    messages = list_problems(settings)
    assert [problem.split(":")[0] for problem in messages] == [
        "`start`",
        "`end.num_target`",
        "`competence`",
    ]


def test_a_module_that_cannot_import_a_library_raises_its_import_error(tmp_path, monkeypatch):
    (tmp_path / "broken_lab.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        build({"type": "broken_lab.Mine"}, expect=AbstractMasker)


def test_a_user_masker_is_built_like_those_of_the_zoo(tmp_path, monkeypatch):
    (tmp_path / "my_lab.py").write_text(
        "from dataclasses import dataclass\n"
        "from maskers import Random\n"
        "from ablate.model.masking import AbstractMasker\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Mine(AbstractMasker):\n"
        "    depth: int = 3\n"
        "    promises = Random().promises\n"
        "    def draw(self, clips, generator): return Random().draw(clips, generator)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    part = build({"type": "my_lab.Mine", "depth": 5}, expect=AbstractMasker)
    assert resolve(part) == {"type": "my_lab.Mine", "depth": 5}


@pytest.fixture
def shapes(monkeypatch) -> str:
    """Returns an import path of this module, which pytest may have imported by another name."""
    import sys

    monkeypatch.setitem(sys.modules, "shapes_of_a_test", sys.modules[__name__])
    for shape in (Square, Stack):
        monkeypatch.setattr(shape, "__module__", "shapes_of_a_test")
    return "shapes_of_a_test"


def test_an_optional_part_is_built_from_its_resolved_none(shapes):
    stack = Stack(shapes=(Square(side=1.0),))
    assert build(resolve(stack), expect=AbstractShape) == stack


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("masker.Random", "did you mean `maskers`"),
        ("ablate.model.patchfy.Rectangles", "did you mean `patchify`"),
        ("nowhere.Random", "no module `nowhere` on Python's path .in"),
    ],
)
def test_a_misspelt_module_is_suggested(path: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        import_class(path)
