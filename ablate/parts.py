"""Settings become objects here: a mapping with a `type` turns into the frozen dataclass it names.

A part is named by the path Python would import (`maskers.Random`, `my_lab.stripes.Stripes`) and
its settings are that dataclass's fields. Each field is checked by itself, every problem is
reported at once, and nothing here knows where the settings were written.

A trial is known by a hash of its settings, so a part may say of its fields which of them decide:

    soft: bool = field(default=False, metadata={AS_BEFORE: False})
    heat: float = field(default=1.0, metadata={MATTERS_IF: {"soft": True}})

`AS_BEFORE` names the value with which a field that was added later does what was done without it:
with that value it stays out of the hash, and old results stay valid. `MATTERS_IF` names the values
that other fields of the same part must have for this one to change anything: with any other it
stays out of the hash, so that variants that differ in nothing else are one trial, run once. Where
what a setting does has changed, the part's class attribute `version` is raised.
"""

import dataclasses
import functools
import importlib
import inspect
import json
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ablate.core.suggest import did_you_mean

AS_BEFORE = "as_before"  # field metadata: the value that leaves old results valid
MATTERS_IF = "matters_if"  # field metadata: `{sibling: value}` beside which alone it matters


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing wrong with some settings: the path of keys to it, and a sentence."""

    path: tuple[str, ...]
    message: str
    unknown: bool = False  # whether the part has no such setting

    def __str__(self) -> str:
        return f"`{'.'.join(self.path)}`: {self.message}" if self.path else self.message


class PartError(ValueError):
    """Settings that cannot become a part. `problems` lists all that is wrong with them."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


T = typing.TypeVar("T")


def build(settings: Mapping[str, Any], *, expect: type[T], path: tuple[str, ...] = ()) -> T:
    """Builds the part that `settings` describes; nested settings with a `type` first.

    `expect` is the class the part must be an instance of; when it is itself a concrete
    dataclass, `type` may be left out. Raises `PartError` with every problem found.
    """
    problems: list[Problem] = []
    part = _build(settings, expect, path, problems)
    if problems or part is None:
        raise PartError(problems)
    return typing.cast(T, part)


def resolve(part: Any) -> dict[str, Any]:
    """Writes a part's settings out as plain data, every default included.

    `build(resolve(part), expect=type(part))` gives an equal part.
    """
    return _written(part, resolve)


def identity(part: Any) -> dict[str, Any]:
    """Like `resolve`, less the settings that decide nothing.

    Those are the ones that hold the value declared to mean *as before*, and those declared to
    matter only beside some value of another setting, where that has a different one.
    """
    settings = _written(part, identity)
    for field in dataclasses.fields(part):
        as_before = field.metadata.get(AS_BEFORE, dataclasses.MISSING)
        if settings[field.name] == as_before or not _matters(part, field):
            del settings[field.name]
    return settings


def _matters(part: Any, field: "dataclasses.Field[Any]") -> bool:
    wanted = field.metadata.get(MATTERS_IF, {})
    return all(getattr(part, name) == value for name, value in wanted.items())


@functools.cache
def public_name(part: type) -> str:
    """Returns the shortest import path of a class: `maskers.Random`, wherever its file lies."""
    pieces = part.__module__.split(".")
    for length in range(1, len(pieces)):
        package = ".".join(pieces[:length])
        if getattr(importlib.import_module(package), part.__qualname__, None) is part:
            return f"{package}.{part.__qualname__}"
    return f"{part.__module__}.{part.__qualname__}"


def find(name: str) -> type:
    """Imports the class of the part that a dotted path names.

    Raises `ValueError`, with the nearest names, where there is none, and whatever its module
    raises on being imported.
    """
    module_name, _, class_name = name.rpartition(".")
    if not module_name:
        raise ValueError(f"`{name}` is not a dotted path such as `maskers.Random`")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and not (module_name + ".").startswith(error.name + "."):
            raise  # the module exists; something that it needs does not
        raise ValueError(f"no module `{error.name}` on Python's path (in `{name}`)") from error
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
        parts = [key for key, value in vars(module).items() if is_part(value)]
        raise ValueError(
            f"`{module_name}` has no part `{class_name}`{did_you_mean(class_name, parts)}"
        )
    return found


def is_part(value: object) -> bool:
    """Tells whether a value is a class that settings can name: a dataclass, and not abstract."""
    concrete = isinstance(value, type) and not inspect.isabstract(value)
    return concrete and dataclasses.is_dataclass(value)


def _build(
    settings: object, expect: type, path: tuple[str, ...], problems: list[Problem]
) -> object | None:
    if not isinstance(settings, Mapping):
        problems.append(Problem(path, f"expected settings with a `type`, got {settings!r}"))
        return None
    found = _class_for(settings, expect, path, problems)
    if found is None:
        return None
    values, before = {}, len(problems)
    annotations = _annotations(found)
    fields = {field.name: field for field in dataclasses.fields(found) if field.init}
    for key, value in settings.items():
        if key == "type":
            continue
        if key == "version" and "version" not in fields:
            _check_version(found, value, (*path, key), problems)
        elif key not in fields:
            message = f"unknown key `{key}` of `{public_name(found)}`{did_you_mean(key, fields)}"
            problems.append(Problem((*path, key), message, unknown=True))
        else:
            values[key] = _value(value, annotations[key], (*path, key), problems)
    for name, field in fields.items():
        required = field.default is field.default_factory is dataclasses.MISSING
        if required and name not in settings:
            problems.append(Problem(path, f"`{public_name(found)}` needs `{name}`"))
    if len(problems) > before:
        return None
    try:
        return typing.cast(object, found(**values))
    except ValueError as error:
        problems.append(Problem(path, str(error)))
        return None


def _class_for(
    settings: Mapping[str, Any], expect: type, path: tuple[str, ...], problems: list[Problem]
) -> type | None:
    name = settings.get("type")
    if name is None:
        if is_part(expect):
            return expect
        problems.append(Problem(path, f"needs a `type`: the dotted path of an {expect.__name__}"))
        return None
    try:
        found = find(str(name))
    except ValueError as error:
        problems.append(Problem((*path, "type"), str(error)))
        return None
    if not issubclass(found, expect):
        message = f"`{name}` is not of type {expect.__name__} (of `{expect.__module__}`)"
        problems.append(Problem((*path, "type"), message))
        return None
    return found


def _check_version(
    found: type, value: object, path: tuple[str, ...], problems: list[Problem]
) -> None:
    current = getattr(found, "version", 1)
    if value != current:
        message = f"made by version {value} of `{public_name(found)}`; this code is {current}"
        problems.append(Problem(path, message))


def _value(value: Any, annotation: Any, path: tuple[str, ...], problems: list[Problem]) -> Any:
    expect = _part_of(annotation)
    if value is None and type(None) in typing.get_args(annotation):
        return None
    if expect is not None and value is not None:
        if isinstance(value, list | tuple):
            built = [_build(v, expect, (*path, str(i)), problems) for i, v in enumerate(value)]
            return tuple(built)
        return _build(value, expect, path, problems)
    try:
        # JSON mode: a list may be a tuple and 1 a float, but "1" is no number and 1 no flag
        return _adapter(annotation).validate_json(json.dumps(value), strict=True)
    except (ValidationError, TypeError):  # a TypeError is a value that JSON has no word for
        problems.append(Problem(path, f"expected {_spelled(annotation)}, got {value!r}"))
    return None


@functools.cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)


@functools.cache
def _annotations(part: type) -> dict[str, Any]:
    return typing.get_type_hints(part)


def _spelled(annotation: Any) -> str:
    """Writes an annotation as a person would: `float | tuple[float, float]`, `time or freq`."""
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(f"`{word}`" for word in typing.get_args(annotation))
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _part_of(annotation: Any) -> type | None:
    """Returns the part's class in `AbstractMasker`, `tuple[AbstractMasker, ...]`, `X | None`."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        abstract = inspect.isabstract(annotation)
        return annotation if abstract or dataclasses.is_dataclass(annotation) else None
    for inner in typing.get_args(annotation):
        if (found := _part_of(inner)) is not None:
            return found
    return None


def _written(part: Any, inner: typing.Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    kind: type = type(part)
    settings: dict[str, Any] = {"type": public_name(kind)}
    if (version := getattr(kind, "version", 1)) != 1:
        settings["version"] = version
    for field in dataclasses.fields(part):
        settings[field.name] = _plain(getattr(part, field.name), inner)
    return settings


def _plain(value: Any, inner: typing.Callable[[Any], dict[str, Any]]) -> Any:
    if dataclasses.is_dataclass(value):
        return inner(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, inner) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, inner) for item in value]
    return value
