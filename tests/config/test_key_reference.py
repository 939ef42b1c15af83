"""The tables of keys in docs/keys.md are those of the models that validate a study.

After a change of the models, `python -m tests.config.test_key_reference` rewrites them.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablate.cli.json_schema import build_schema
from ablate.config.keys import SETTINGS

DOCS = Path(__file__).parents[2] / "docs" / "keys.md"
TABLES = re.compile(r"(?<=<!-- keys -->\n).*?(?=<!-- end of keys -->)", re.DOTALL)
SECTIONS = {  # model -> heading of its table
    "SeedGrowth": "`seeds` that grow",
    "SeparateSeeds": "`seeds` for each purpose",
    "Sweep": "`sweep`",
    "RangeKeys": "`sweep.space`: a range",
    "Constraints": "`sweep.constraints`",
    "Confirm": "`confirm`",
    "Evaluate": "`evaluate`",
    "Report": "`report`",
    "Limits": "`limits`",
}
KINDS = {"string": "text", "boolean": "true or false", "array": "list", "object": "mapping"}
BOUNDS = {
    "minimum": "from {}",
    "exclusiveMinimum": "above {}",
    "exclusiveMaximum": "below {}",
}


def format_tables() -> str:
    """Formats one table for the study and one for each of its sections."""
    schema = build_schema({"settings": {}, "probe": {}, "definitions": {}})
    models = schema["$defs"]
    assert models.keys() == SECTIONS.keys()
    settings = "\n".join(f"| `{name}` | {about} |" for name, about in SETTINGS.items())
    tables = [
        format_table("A study", schema),
        f"## Settings of the baseline\n\n| setting | is |\n|---|---|\n{settings}",
        *(format_table(title, models[name]) for name, title in SECTIONS.items()),
    ]
    return "\n" + "\n\n".join(tables) + "\n\n"


def format_table(title: str, section: Mapping[str, Any]) -> str:
    required = section.get("required", [])
    rows = (
        f"| `{key}` | {describe(value)} | {get_default(key, value, required)} "
        f"| {value['description']} |"
        for key, value in section["properties"].items()
    )
    return "\n".join(
        [f"## {title}\n", "| key | value | default | is |", "|---|---|---|---|", *rows]
    )


def get_default(key: str, value: Mapping[str, Any], required: list[str]) -> str:
    if key in required:
        return "required"
    empty = (None, "", [], {})
    default = value.get("default")
    return "" if default in empty or isinstance(default, dict) else f"`{json.dumps(default)}`"


def describe(value: Mapping[str, Any]) -> str:
    """Describes the values that a schema allows; what they contain is left out."""
    if "$ref" in value:
        return "mapping (see below)"
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    for choices in (value.get("oneOf"), value.get("anyOf")):
        if choices:
            texts = dict.fromkeys(describe(choice) for choice in choices)
            if "number" in texts:
                texts.pop("integer", None)
            return " or ".join(texts)
    kind = value.get("type", "any")
    if isinstance(kind, list):
        return " or ".join(describe({"type": one}) for one in kind)
    bounds = [text.format(value[name]) for name, text in BOUNDS.items() if name in value]
    return " ".join([KINDS.get(kind, kind), *bounds])


def test_the_documented_keys_are_those_of_the_models() -> None:
    [documented] = TABLES.findall(DOCS.read_text())
    assert documented == format_tables()


if __name__ == "__main__":
    DOCS.write_text(TABLES.sub(lambda _: format_tables(), DOCS.read_text()))
