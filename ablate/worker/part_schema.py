"""Builds the JSON schema of the settings of every part, for completion in editors.

It is only an aid to writing: `parts.build` decides what is valid. A part of a package that was not
imported is accepted with any settings.
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
from ablate.core.records.messages import SchemaReply
from ablate.model.patchify import AbstractPatchifier
from ablate.parts import PartError, Problem
from ablate.probing.probe import AbstractProbe
from ablate.worker.trial import Trial
from ablate.worker.units import IN_SECONDS

PACKAGES = ("ablate.audio", "ablate.model", "ablate.probing", "ablate.training")
Schema = dict[str, Any]
SECONDS: Schema = {"type": "number", "exclusiveMinimum": 0}
ALL: Schema = {"anyOf": [{"type": "integer"}, {"const": "all"}]}


def build_schemas(packages: Iterable[str]) -> SchemaReply:
    """Builds the schemas of the settings of a trial, of a probe, and of the parts they refer to.

    `packages` are searched for further parts. Raises `PartError` for a package that does not exist.
    """
    for package in (*PACKAGES, *packages):
        _import_all(package)
    definitions: dict[str, Schema] = {}
    trial = {**_build_fields(Trial, definitions), "crop_seconds": SECONDS}
    probe = _build_type(AbstractProbe, definitions)
    return SchemaReply(settings=trial, probe=probe, definitions=definitions)


def _import_all(package: str) -> None:
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        message = f"no module `{error.name}` on Python's path"
        raise PartError([Problem((), message)]) from error
    for info in pkgutil.iter_modules(getattr(module, "__path__", ()), f"{package}."):
        importlib.import_module(info.name)


def _build_fields(part: type, definitions: dict[str, Schema]) -> dict[str, Schema]:
    annotations = typing.get_type_hints(part)
    schemas = {}
    for field in dataclasses.fields(part):
        schema = _build_type(annotations[field.name], definitions)
        if field.default is not dataclasses.MISSING and not is_part(type(field.default)):
            schema = {**schema, "default": field.default}
        schemas[field.name] = schema
    return schemas


def _build_type(annotation: Any, definitions: dict[str, Schema]) -> Schema:
    arguments = typing.get_args(annotation)
    if inspect.isclass(annotation) and not arguments:
        if is_part(annotation) or inspect.isabstract(annotation):
            return _build_choice(annotation, definitions)
    elif any(_holds_part(argument) for argument in arguments):
        items = [_build_type(each, definitions) for each in arguments if each is not Ellipsis]
        if typing.get_origin(annotation) in (tuple, list):
            return {"type": "array", "items": {"anyOf": items}}
        return {"anyOf": items}
    try:
        return TypeAdapter(annotation).json_schema()
    except PydanticUserError:
        return {}  # JSON schema cannot express it


def _holds_part(annotation: Any) -> bool:
    if inspect.isclass(annotation) and not typing.get_args(annotation):
        return is_part(annotation) or inspect.isabstract(annotation)
    return any(_holds_part(argument) for argument in typing.get_args(annotation))


def _build_choice(expect: type, definitions: dict[str, Schema]) -> Schema:
    """Builds the schema of one part out of all of a kind; a part of another name is accepted."""
    parts = {get_class_path(part): part for part in _find_parts(expect)}
    for name, part in parts.items():
        if name not in definitions:
            definitions[name] = {}  # ends the recursion of a part that holds parts of its own kind
            definitions[name] = _build_part(name, part, definitions)
    references = [{"$ref": f"#/$defs/{name}"} for name in sorted(parts)]
    other = {"type": "string", "not": {"enum": sorted(parts)}}
    other_part = {"type": "object", "properties": {"type": other}, "required": ["type"]}
    return {"anyOf": [*references, other_part]}


def _build_part(name: str, part: type, definitions: dict[str, Schema]) -> Schema:
    description = (inspect.getdoc(part) or "").split("\n", 1)[0]
    own: Mapping[str, Schema] = {"type": {"const": name}, "match": {"type": "object"}}
    properties = {**own, **_build_fields(part, definitions)}
    if issubclass(part, AbstractPatchifier):  # its sizes may be in seconds
        properties |= dict.fromkeys(IN_SECONDS, SECONDS)
        properties |= {name: ALL for name in ("freq", "time") if name in properties}
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "additionalProperties": False,
    }


def _find_parts(expect: type) -> Iterator[type]:
    if is_part(expect):
        yield expect
    children: list[type] = expect.__subclasses__()
    for child in children:
        yield from _find_parts(child)
