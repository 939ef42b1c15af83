"""The door to a study's JSON schema: `ablate show --schema`, for editors to complete from."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from ablate.config.budget import WAYS
from ablate.config.design import DESIGNS
from ablate.config.study import KEYS, SETTINGS
from ablate.executors.worker import COMMAND
from ablate.study.worker_query import Ask, errand

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def show(packages: Sequence[str], *, command: Sequence[str] = COMMAND) -> int:
    """Prints the schema; returns the exit code."""

    def act(ask: Ask) -> None:
        found = ask({"do": "schema", "packages": list(packages)})
        sys.stdout.write(json.dumps(schema(found), indent=1) + "\n")

    console = Console(stderr=True)
    return errand(act, title="reading parts", console=console, command=command)


def schema(found: Mapping[str, Any]) -> dict[str, Any]:
    """Puts a study's keys around what a worker says of the parts."""
    settings = {name: found["settings"].get(name, {}) for name in SETTINGS}
    path = {"type": "string"}
    baseline = {"extends": {"anyOf": [path, {"type": "array", "items": path}]}, **settings}
    # a level is a branch, or nothing; a list of plain values is a level a value
    levels = {
        name: {"anyOf": [{"type": "array"}, {"type": "object", "additionalProperties": one}]}
        for name, one in settings.items()
    }
    about: dict[str, Any] = {
        "study": {"type": "string"},
        "baseline": {
            "type": "object",
            "properties": baseline,
            "additionalProperties": False,
        },
        "factors": {"type": "object", "properties": levels},
        "design": {"enum": list(DESIGNS)},
        "match_budget": {"enum": list(WAYS)},
        "probes": {"type": "object", "additionalProperties": found["probe"]},
        "score": {"type": "string"},
        "notes": {"type": "object", "additionalProperties": {"type": "string"}},
        "evaluate": {
            "type": "object",
            "properties": {
                "every": {"type": "integer"},
                "clips": {"type": "integer"},
                "score": {"type": "string"},
            },
            "required": ["every"],
            "additionalProperties": False,
        },
    }
    return {
        "$schema": DRAFT,
        "title": "A study of ablate",
        "type": "object",
        "properties": {key: about.get(key, {}) for key in KEYS},
        "required": ["study", "baseline", "seeds"],
        "additionalProperties": False,
        "$defs": found["definitions"],
    }
