"""Every masker of the zoo documents its settings, with an example that can be built."""

import dataclasses
import inspect
import re

import pytest

import maskers
from ablate.config import loader
from ablate.model.masking import AbstractMasker
from ablate.parts import build

EXAMPLE = re.compile(r"Example:\n(    masker: .*)\Z", re.DOTALL)
CLASSES = [getattr(maskers, name) for name in maskers.__all__]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_setting_of_a_masker_is_documented(cls: type[AbstractMasker]) -> None:
    text = inspect.getdoc(cls) or ""
    documented = re.findall(
        r"(?m)^    (\w+): ", text.partition("Args:")[2].partition("Example:")[0]
    )
    assert documented == [field.name for field in dataclasses.fields(cls)]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_the_example_of_a_masker_builds_it(cls: type[AbstractMasker]) -> None:
    match = EXAMPLE.search(inspect.getdoc(cls) or "")
    assert match is not None
    settings = loader.parse_settings(match[1], "the example")["masker"]
    assert settings["type"] == f"maskers.{cls.__name__}"
    assert type(build(settings, expect=AbstractMasker)) is cls


def test_every_module_of_the_zoo_begins_with_a_sentence() -> None:
    modules = {inspect.getmodule(cls) for cls in CLASSES}
    for module in modules:
        first, *_ = (inspect.getdoc(module) or "").splitlines()
        assert first.endswith("."), f"{module}: {first}"
