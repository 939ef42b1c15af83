"""Every part that a study may name documents its settings, with an example that can be built."""

import dataclasses
import doctest
import inspect
import re

import pytest

import maskers
from ablate.config import loader
from ablate.core.part_classes import get_class_path
from ablate.parts import build
from tests.package_parts import find_parts, find_typed_settings

YAML_EXAMPLE = re.compile(r"Example:\n((?:    .*\n?)+)\Z")
SECTIONS = re.compile(r"\n\n(?:Raises|Example):")


ALL_PARTS = [*find_parts(), *(getattr(maskers, name) for name in maskers.__all__)]
KINDS = sorted(
    {
        kind
        for part in ALL_PARTS
        for kind in inspect.getmro(part)[1:]
        if kind.__name__.startswith("Abstract")
    },
    key=get_class_path,
)
PARTS = [part for part in ALL_PARTS if dataclasses.fields(part)]


def run_doctest(part: type, text: str) -> None:
    """Runs a Python example, which may use the names of the part's module."""
    names = dict(vars(inspect.getmodule(part)))
    test = doctest.DocTestParser().get_doctest(text, names, part.__name__, None, 0)
    output: list[str] = []
    failed, _ = doctest.DocTestRunner(verbose=False).run(test, out=output.append)
    assert not failed, "".join(output)


@pytest.mark.parametrize("part", PARTS, ids=get_class_path)
def test_every_setting_of_a_part_is_documented(part: type) -> None:
    arguments = SECTIONS.split((inspect.getdoc(part) or "").partition("Args:\n")[2])[0]
    documented = re.findall(r"(?m)^    (\w+): ", arguments)
    fields = [field.name for field in dataclasses.fields(part) if field.init]
    assert sorted(documented) == sorted(fields)


@pytest.mark.parametrize("part", PARTS, ids=get_class_path)
def test_the_example_of_a_part_builds_it(part: type) -> None:
    text = inspect.getdoc(part) or ""
    assert "Example:" in text
    if ">>> " in text:
        run_doctest(part, text)
        return
    match = YAML_EXAMPLE.search(text)
    assert match is not None
    settings = loader.parse_settings(match[1], "the example")
    path = get_class_path(part)
    own = [each for each in find_typed_settings(settings) if each["type"] == path]
    if not own:  # implied by the section of the study
        [section] = settings.values()
        own = [{"type": path, **section}]
    assert type(build(own[0], expect=part)) is part


@pytest.mark.parametrize("kind", KINDS, ids=get_class_path)
def test_every_member_of_an_abstract_kind_documents_its_arguments(kind: type) -> None:
    for name, member in vars(kind).items():
        function = member.fget if isinstance(member, property) else member
        if inspect.isfunction(function) and (not name.startswith("_") or name == "__call__"):
            text = inspect.getdoc(function) or ""
            assert text, name
            for argument in [*inspect.signature(function).parameters][1:]:
                is_documented = re.search(rf"(?m)^    {argument}: |`{argument}`", text)
                assert is_documented, f"{name}: {argument}"


@pytest.mark.parametrize("kind", KINDS, ids=get_class_path)
def test_the_example_of_an_abstract_kind_works(kind: type) -> None:
    text = inspect.getdoc(kind) or ""
    if ">>> " in text:
        run_doctest(kind, text)


def test_every_module_of_the_zoo_begins_with_a_sentence() -> None:
    modules = {inspect.getmodule(getattr(maskers, name)) for name in maskers.__all__}
    for module in modules:
        first, *_ = (inspect.getdoc(module) or "").splitlines()
        assert first.endswith("."), f"{module}: {first}"
