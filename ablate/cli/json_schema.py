"""Prints the JSON schema of a study, for completion in editors: `ablate show --schema`."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema
from rich.console import Console

from ablate.config.keys import SETTINGS, StudyFile
from ablate.core.records.messages import SchemaRequest
from ablate.executors.worker import COMMAND
from ablate.study.worker_query import Query, query_worker

DRAFT = "https://json-schema.org/draft/2020-12/schema"


class _StudySchema(GenerateJsonSchema):
    """Omits null where it is the default of a missing key, and not a value to write."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if "default" not in schema or schema["default"] is not None:
            return super().default_schema(schema)
        content = self.generate_inner(schema["schema"])
        choices = [one for one in content.get("anyOf", []) if one != {"type": "null"}]
        return choices[0] if len(choices) == 1 else content


def show_schema(packages: Sequence[str], *, command: Sequence[str] = COMMAND) -> int:
    """Prints the schema, with the parts of further packages; returns the exit code."""

    def print_schema(query: Query) -> None:
        parts = query(SchemaRequest(packages=tuple(packages))).to_json()
        sys.stdout.write(json.dumps(build_schema(parts), indent=1) + "\n")

    console = Console(stderr=True)
    return query_worker(print_schema, title="reading parts", console=console, command=command)


def build_schema(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Builds the schema of a study.

    Args:
        parts: what a worker knows of parts: the schema of each of a trial's `settings`, of a
            `probe`, and the `definitions` that these refer to.
    """
    schema = StudyFile.model_json_schema(schema_generator=_StudySchema)
    settings = {
        name: {"description": about, **parts["settings"].get(name, {})}
        for name, about in SETTINGS.items()
    }
    keys = schema["properties"]
    file = {"type": "string"}
    extends = {
        "description": "file whose settings these are merged into, or a list of files",
        "anyOf": [file, {"type": "array", "items": file}],
    }
    keys["baseline"] |= {
        "properties": {"extends": extends, **settings},
        "additionalProperties": False,
    }
    # a level is a branch of the baseline; in a list, each plain value is a level
    keys["factors"]["properties"] = {
        name: {"anyOf": [{"type": "array"}, {"type": "object", "additionalProperties": setting}]}
        for name, setting in settings.items()
    }
    keys["probes"]["additionalProperties"] = parts["probe"]
    return {
        "$schema": DRAFT,
        **schema,
        "title": "A study of ablate",
        "$defs": {**schema["$defs"], **parts["definitions"]},
    }
