"""The JSON schema of a study, and that study keys agree with the classes of the worker."""

import dataclasses
import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from ablate import parts
from ablate.cli.json_schema import build_schema
from ablate.config import conflicts, loader
from ablate.config.keys import DEFAULT_PROBES, SETTINGS, StudyFile
from ablate.config.validation import key_names
from ablate.core.seeds import SETTINGS as SEED_SETTINGS
from ablate.probing.probe import AbstractProbe
from ablate.probing.views import POOLINGS
from ablate.worker.trial import Trial

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))
TYPES = {"string": str, "boolean": bool, "object": dict, "array": list, "null": type(None)}


def test_a_study_has_a_key_for_every_setting_of_a_trial_except_its_seeds() -> None:
    fields = {field.name for field in dataclasses.fields(Trial)}
    assert {*SETTINGS, *SEED_SETTINGS.values()} == {
        *fields,
        "crop_seconds",
    }  # `crop_seconds` is an alternative to `crop_frames`


def test_poolings_agree() -> None:
    assert conflicts.POOLINGS == POOLINGS


def test_the_default_probes_can_be_built() -> None:
    for settings in DEFAULT_PROBES.values():
        assert parts.build(settings, expect=AbstractProbe)


def schema_of_keys() -> dict[str, Any]:
    """The schema of a study, without a worker's knowledge of parts."""
    return build_schema({"settings": {}, "probe": {}, "definitions": {}})


def find_sections(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        for section in find_models(field.annotation):
            yield from find_sections(section)


def find_models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from find_models(inner)


def test_every_key_of_every_section_is_in_the_schema_with_a_description() -> None:
    schema = schema_of_keys()
    sections = {"StudyFile": schema, **schema["$defs"]}
    models = {model.__name__: model for model in find_sections(StudyFile)}
    assert {"SeedGrowth", "Sweep", "Confirm", "Evaluate", "Report", "Limits"} <= models.keys()
    for name, model in models.items():
        keys = sections[name]["properties"]
        assert keys.keys() == key_names(model).keys()
        assert sections[name]["additionalProperties"] is False
        for key, content in keys.items():
            assert content.get("description"), f"{name}.{key}"
            assert len(content) > 1, f"{name}.{key} says nothing of its value"


def test_every_setting_of_the_baseline_has_a_description() -> None:
    settings = schema_of_keys()["properties"]["baseline"]["properties"]
    assert {*SETTINGS, "extends"} == settings.keys()
    assert all(content["description"] for content in settings.values())


def is_type(value: Any, name: str) -> bool:
    if name in ("integer", "number"):
        allowed = int if name == "integer" else (int, float)
        return isinstance(value, allowed) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def is_valid(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    """Validates a value by the part of JSON schema that a study's schema uses."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        return is_valid(value, root["$defs"][name], root)
    for choices in (schema.get("anyOf"), schema.get("oneOf")):
        if choices and not any(is_valid(value, choice, root) for choice in choices):
            return False
    kinds = schema.get("type", [])
    if kinds and not any(is_type(value, k) for k in ([kinds] if isinstance(kinds, str) else kinds)):
        return False
    if value not in schema.get("enum", [value]):
        return False
    if isinstance(value, str):
        return re.search(schema.get("pattern", ""), value) is not None
    if isinstance(value, list):
        items = all(is_valid(item, schema.get("items", {}), root) for item in value)
        return items and len(value) >= schema.get("minItems", 0)
    if isinstance(value, dict):
        keys, other = schema.get("properties", {}), schema.get("additionalProperties", {})
        complete = {*schema.get("required", [])} <= value.keys()
        return complete and all(
            is_valid(child, keys[key], root)
            if key in keys
            else isinstance(other, dict | bool)
            and other is not False
            and (other is True or is_valid(child, other, root))
            for key, child in value.items()
        )
    low = schema.get("minimum", value), schema.get("exclusiveMinimum")
    return not is_type(value, "number") or (
        value >= low[0]
        and (low[1] is None or value > low[1])
        and value < schema.get("exclusiveMaximum", value + 1)
    )


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_a_study_is_valid_by_the_schema_and_misspelt_keys_are_not(file: Path) -> None:
    schema, study = schema_of_keys(), loader.read(file).plain()
    assert is_valid(study, schema, schema)
    assert not is_valid({**study, "sedes": 3}, schema, schema)
    assert not is_valid({**study, "seeds": {"start": 2, "max": 4, "stpe": 1}}, schema, schema)
    for section, keys in {
        "limits": {"trials": 3},
        "report": {"alpha": 0.1},
        "confirm": {"top": 1, "seeds": 2},
        "evaluate": {"every": 5},
        "sweep": {"space": {"masker.ratio": {"low": 0.1, "high": 0.2}}},
    }.items():
        assert is_valid({**study, section: keys}, schema, schema), section
        assert not is_valid({**study, section: {**keys, "misspelt": 1}}, schema, schema), section
