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
import inspect
import json
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ablate.core.part_classes import (
    copy_type,
    describe_name_conflict,
    get_class_path,
    get_part_name,
    get_type_path,
    import_class,
    is_part,
    remember_type,
)
from ablate.core.suggest import did_you_mean

AS_BEFORE = "as_before"  # field metadata: the value with which the part behaves as without it
MATTERS_IF = "matters_if"  # field metadata: `{other field: value}`, needed for it to have an effect
NAMED_BEFORE = "named_before"  # field metadata: the former name of a renamed field


@dataclasses.dataclass(frozen=True)
class Problem:
    """One problem of some settings."""

    path: tuple[str, ...]  # keys that lead to the setting
    message: str
    unknown: bool = False  # the part has no setting of this name

    def __str__(self) -> str:
        return f"`{'.'.join(self.path)}`: {self.message}" if self.path else self.message


class PartError(ValueError):
    """Settings from which no part can be built.

    Attributes:
        problems: Everything that is wrong with the settings.
    """

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


T = typing.TypeVar("T")


def build(settings: Mapping[str, Any], *, expect: type[T], path: tuple[str, ...] = ()) -> T:
    """Builds the part that `settings` describe, nested parts first.

    Args:
        settings: A `type` and values for the fields of the part.
        expect: The class that the part must be an instance of. If it is a concrete dataclass,
            `type` may be left out.
        path: Keys that lead to `settings` in the file they come from, for messages.

    Raises:
        PartError: With every problem of the settings.
    """
    problems: list[Problem] = []
    part = _build(settings, expect, path, problems)
    if problems or part is None:
        raise PartError(problems)
    return typing.cast(T, part)


def resolve(part: Any) -> dict[str, Any]:
    """Returns the settings of a part as plain data, defaults included.

    `build(resolve(part), expect=type(part))` gives an equal part with the same identity.
    """
    settings = _get_head(part, get_type_path(part))
    for field in dataclasses.fields(part):
        settings[field.name] = _to_plain(getattr(part, field.name), resolve)
    return settings


def get_identity(part: Any) -> dict[str, Any]:
    """Returns what identifies a part in a fingerprint, as plain data.

    This is `resolve(part)` without the fields that have no effect (see `AS_BEFORE` and
    `MATTERS_IF`), with the name of the part that does not depend on its file, and with the former
    names of renamed fields.
    """
    settings = _get_head(part, get_part_name(part))
    for field in dataclasses.fields(part):
        value = _to_plain(getattr(part, field.name), get_identity)
        if value != field.metadata.get(AS_BEFORE, dataclasses.MISSING) and _matters(part, field):
            settings[field.metadata.get(NAMED_BEFORE, field.name)] = value
    return settings


def replace_settings(part: T, **changes: Any) -> T:
    """Returns a part with some settings changed, like `dataclasses.replace`.

    Unlike that, it keeps the `type` that the part was built from, and with it the part's name.
    """
    changed: T = dataclasses.replace(part, **changes)  # type: ignore[type-var]
    copy_type(part, changed)
    return changed


def _matters(part: Any, field: "dataclasses.Field[Any]") -> bool:
    wanted = field.metadata.get(MATTERS_IF, {})
    return all(getattr(part, name) == value for name, value in wanted.items())


def _build(
    settings: object, expect: type, path: tuple[str, ...], problems: list[Problem]
) -> object | None:
    if not isinstance(settings, Mapping):
        problems.append(Problem(path, f"expected settings with a `type`, got {settings!r}"))
        return None
    cls = _get_class(settings, expect, path, problems)
    if cls is None:
        return None
    name = settings.get("type", get_class_path(cls))
    num_before = len(problems)
    values = _build_values(cls, name, settings, path, problems)
    if len(problems) > num_before:
        return None
    try:
        part = typing.cast(object, cls(**values))
    except ValueError as error:
        problems.append(Problem(path, str(error)))
        return None
    if "type" in settings:
        remember_type(part, name)
    return part


def _build_values(
    cls: type,
    name: str,
    settings: Mapping[str, Any],
    path: tuple[str, ...],
    problems: list[Problem],
) -> dict[str, Any]:
    """Validates the settings of a part, and builds its nested parts; returns its fields."""
    values: dict[str, Any] = {}
    annotations = _get_annotations(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    renamed = {field.metadata.get(NAMED_BEFORE): field.name for field in fields.values()}
    for key, value in settings.items():
        field = renamed.get(key, key)
        if key == "type":
            continue
        if key == "version" and "version" not in fields:
            _check_version(cls, name, value, (*path, key), problems)
        elif field not in fields:
            message = f"unknown key `{key}` of `{name}`{did_you_mean(key, fields)}"
            problems.append(Problem((*path, key), message, unknown=True))
        elif field in values:
            message = f"`{key}` is the former name of `{field}`; write only `{field}`"
            problems.append(Problem((*path, key), message))
        else:
            values[field] = _build_value(value, annotations[field], (*path, key), problems)
    for key, definition in fields.items():
        required = definition.default is definition.default_factory is dataclasses.MISSING
        if required and key not in values:
            problems.append(Problem(path, f"`{name}` needs `{key}`"))
    return values


def _get_class(
    settings: Mapping[str, Any], expect: type, path: tuple[str, ...], problems: list[Problem]
) -> type | None:
    name = settings.get("type")
    if name is None:
        if is_part(expect):
            return expect
        problems.append(Problem(path, f"needs a `type`: the dotted path of an {expect.__name__}"))
        return None
    try:
        cls = import_class(str(name))
    except ValueError as error:
        problems.append(Problem((*path, "type"), str(error)))
        return None
    if not issubclass(cls, expect):
        message = f"`{name}` is not of type {expect.__name__} (of `{expect.__module__}`)"
        problems.append(Problem((*path, "type"), message))
        return None
    if conflict := describe_name_conflict(cls):
        problems.append(Problem((*path, "type"), conflict))
        return None
    return cls


def _check_version(
    cls: type, name: str, value: object, path: tuple[str, ...], problems: list[Problem]
) -> None:
    current = getattr(cls, "version", 1)
    if value != current:
        message = f"made by version {value} of `{name}`; this code is version {current}"
        problems.append(Problem(path, message))


def _build_value(
    value: Any, annotation: Any, path: tuple[str, ...], problems: list[Problem]
) -> Any:
    expect = _get_part_type(annotation)
    if value is None and type(None) in typing.get_args(annotation):
        return None
    if expect is not None and value is not None:
        if isinstance(value, list | tuple):
            return tuple(
                _build(item, expect, (*path, str(i)), problems) for i, item in enumerate(value)
            )
        return _build(value, expect, path, problems)
    try:
        # JSON mode accepts a list as a tuple and 1 as a float, but neither "1" nor 1 as a flag
        return _get_adapter(annotation).validate_json(json.dumps(value), strict=True)
    except (ValidationError, TypeError):  # TypeError: JSON cannot express the value
        remedy = "; write it in quotes" if _is_text_for_yaml(annotation, value) else ""
        problems.append(Problem(path, f"expected {_format(annotation)}, got {value!r}{remedy}"))
    return None


def _is_text_for_yaml(annotation: Any, value: Any) -> bool:
    """Returns whether a value may be a text that YAML reads as something else."""
    return annotation is str and (value is None or isinstance(value, bool | int | float))


@functools.cache
def _get_adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)


@functools.cache
def _get_annotations(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _format(annotation: Any) -> str:
    """Writes an annotation for a message: `float | tuple[float, float]`, `time or freq`."""
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(f"`{word}`" for word in typing.get_args(annotation))
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _get_part_type(annotation: Any) -> type | None:
    """Returns the class of parts in `AbstractMasker`, `tuple[AbstractMasker, ...]`, `X | None`."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        abstract = inspect.isabstract(annotation)
        return annotation if abstract or dataclasses.is_dataclass(annotation) else None
    inner = map(_get_part_type, typing.get_args(annotation))
    return next((cls for cls in inner if cls is not None), None)


def _get_head(part: Any, name: str) -> dict[str, Any]:
    version = getattr(type(part), "version", 1)
    return {"type": name} if version == 1 else {"type": name, "version": version}


def _to_plain(value: Any, write_part: typing.Callable[[Any], dict[str, Any]]) -> Any:
    if dataclasses.is_dataclass(value):
        return write_part(value)
    if isinstance(value, Mapping):
        return {str(key): _to_plain(item, write_part) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(item, write_part) for item in value]
    return value
