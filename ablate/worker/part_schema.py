"""The settings of every part that can be named, as JSON schema, for editors to complete from.

What is checked is decided by `parts.build`; a schema only helps to write it. A stranger's part
that nobody has imported is let pass.
"""

import dataclasses
import importlib
import inspect
import pkgutil
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import PydanticUserError, TypeAdapter

from ablate.core.part_classes import get_class_path, is_part
from ablate.model.patchify import AbstractPatchifier
from ablate.parts import PartError, Problem
from ablate.probing.probe import AbstractProbe
from ablate.worker.trial import Trial
from ablate.worker.units import IN_SECONDS

ROOMS = ("ablate.audio", "ablate.model", "ablate.probing", "ablate.training")
Schema = dict[str, Any]
SECONDS: Schema = {"type": "number", "exclusiveMinimum": 0}
ALL: Schema = {"anyOf": [{"type": "integer"}, {"const": "all"}]}


def build_schemas(packages: Iterable[str]) -> dict[str, Any]:
    """Returns the schema of each setting of a trial, of a probe, and of what they refer to.

    `packages` are searched for parts beside this one's. Raises `PartError` for an unknown one.
    """
    for package in (*ROOMS, *packages):
        _import_all(package)
    definitions: dict[str, Schema] = {}
    trial = {**_fields(Trial, definitions), "crop_seconds": SECONDS}
    probe = _annotated(AbstractProbe, definitions)
    return {"settings": trial, "probe": probe, "definitions": definitions}


def _import_all(package: str) -> None:
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        message = f"no module `{error.name}` on Python's path"
        raise PartError([Problem((), message)]) from error
    for found in pkgutil.iter_modules(getattr(module, "__path__", ()), f"{package}."):
        importlib.import_module(found.name)


def _fields(part: type, definitions: dict[str, Schema]) -> dict[str, Schema]:
    annotations = typing.get_type_hints(part)
    found = {}
    for field in dataclasses.fields(part):
        schema = _annotated(annotations[field.name], definitions)
        if field.default is not dataclasses.MISSING and not is_part(type(field.default)):
            schema = {**schema, "default": field.default}
        found[field.name] = schema
    return found


def _annotated(annotation: Any, definitions: dict[str, Schema]) -> Schema:
    arguments = typing.get_args(annotation)
    if inspect.isclass(annotation) and not arguments:
        if is_part(annotation) or inspect.isabstract(annotation):
            return _choice(annotation, definitions)
    elif any(_holds_part(argument) for argument in arguments):
        items = [_annotated(each, definitions) for each in arguments if each is not Ellipsis]
        if typing.get_origin(annotation) in (tuple, list):
            return {"type": "array", "items": {"anyOf": items}}
        return {"anyOf": items}
    try:
        return TypeAdapter(annotation).json_schema()
    except PydanticUserError:
        return {}  # nothing that JSON has a word for


def _holds_part(annotation: Any) -> bool:
    if inspect.isclass(annotation) and not typing.get_args(annotation):
        return is_part(annotation) or inspect.isabstract(annotation)
    return any(_holds_part(argument) for argument in typing.get_args(annotation))


def _choice(expect: type, definitions: dict[str, Schema]) -> Schema:
    """Refers to all parts of a kind, and to whatever else has another name."""
    parts = {get_class_path(part): part for part in _kinds_of(expect)}
    for name, part in parts.items():
        if name not in definitions:
            definitions[name] = {}  # so that a part that holds its like comes to an end
            definitions[name] = _part(name, part, definitions)
    known = [{"$ref": f"#/$defs/{name}"} for name in sorted(parts)]
    other = {"type": "string", "not": {"enum": sorted(parts)}}
    guest = {"type": "object", "properties": {"type": other}, "required": ["type"]}
    return {"anyOf": [*known, guest]}


def _part(name: str, part: type, definitions: dict[str, Schema]) -> Schema:
    about = (inspect.getdoc(part) or "").split("\n", 1)[0]
    own: Mapping[str, Schema] = {"type": {"const": name}, "match": {"type": "object"}}
    properties = {**own, **_fields(part, definitions)}
    if issubclass(part, AbstractPatchifier):  # other words for its sizes
        properties |= dict.fromkeys(IN_SECONDS, SECONDS)
        properties |= {name: ALL for name in ("freq", "time") if name in properties}
    return {
        "type": "object",
        "description": about,
        "properties": properties,
        "additionalProperties": False,
    }


def _kinds_of(expect: type) -> Iterator[type]:
    if is_part(expect):
        yield expect
    children: list[type] = expect.__subclasses__()
    for child in children:
        yield from _kinds_of(child)
