"""Formats the model card (Markdown) of an exported encoder: settings, usage and scores."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from ablate.core.records.export import ExportedEncoder
from ablate.core.records.score import ScoreFile
from ablate.parts import PartError, build, resolve

_OTHER_COLUMNS = ("views", "tasks", "content", "version")  # settings not shown with the probe

_HEAD = """---
library_name: ablate
license: unknown
pipeline_tag: feature-extraction
tags: [audio, self-supervised, jepa]
---

# Run {run}

An audio encoder trained with `ablate`: encoder {encoder}, patches {patchifier}, front end {mel}.
It was trained with {masker} masks for {steps} steps of {batch} clips each, seed {seed}. Weights:
sha256 `{weights}`. Before you publish it, add a licence and describe the training data.

## Use

```python
import ablate

encoder = ablate.load_encoder("this/folder")
features = encoder.features("dog.wav")  # (dim,): one vector for audio of any length
```

`encoder.features_over_time(waveforms)` returns features over time. For X-ARES use
`xares_encoder.py`, for HEAR the module `ablate.export.hear` with this folder as the model path.
"""


def format_model_card(record: ExportedEncoder, settings: Mapping[str, Any], run: Path) -> str:
    """Formats the model card.

    Args:
        record: the content of `encoder.json`.
        settings: the settings of the run.
        run: the folder of the run, whose scores are listed.
    """
    names = {part: settings[part]["type"] for part in ("encoder", "patchifier", "mel", "masker")}
    head = _HEAD.format(
        run=record.run,
        weights=record.weights,
        seed=settings["seed"],
        steps=settings["budget"]["steps"],
        batch=settings["budget"]["batch"],
        **{part: f"`{name}`" for part, name in names.items()},
    )
    listed = json.dumps(_remove_locations(settings), indent=1)
    last = f"## Settings\n\nPaths are shortened to their last name.\n\n```json\n{listed}\n```"
    return "\n".join([head, *_format_scores(run), last, ""])


def _format_scores(run: Path) -> Iterator[str]:
    rows = []
    for file in sorted(run.glob("probes/*/*.json")):
        result = ScoreFile.read(file)
        probe = _format_probe(result.settings)
        for view, score in result.scores.items():
            if score.test is not None:
                rows.append((result.task, probe, view, score.metric, f"{score.test:.1f}"))
    if rows:
        yield "## Scores of the frozen encoder, in percent\n"
        yield "| task | probe | view | metric | test |\n| --- | --- | --- | --- | --- |"
        yield from (f"| {' | '.join(row)} |" for row in rows)
        yield ""


def _format_probe(settings: Mapping[str, Any]) -> str:
    """Formats a probe as its class and the settings that differ from the defaults: `KNN(k=200)`.

    Clips of its own are given by the first digits of their digest.
    """
    own = {name: value for name, value in settings.items() if name not in _OTHER_COLUMNS}
    only_type = {"type": own["type"]}
    try:
        values, defaults = (resolve(build(some, expect=object)) for some in (own, only_type))
    except PartError:  # the class is not installed, has changed, or has required settings
        values, defaults = own, only_type
    values["version"] = settings.get("version", 1)
    defaults = {"version": 1, **defaults}
    changed = {name: value for name, value in values.items() if value != defaults.get(name)}
    if content := settings.get("content"):
        changed["clips"] = content["digest"][:8]
    listed = ", ".join(
        f"{name}={json.dumps(_remove_locations(value))}" for name, value in changed.items()
    )
    name = own["type"].rpartition(".")[2]
    return f"{name}({listed})".replace("|", r"\|") if listed else name


def _remove_locations(value: Any) -> Any:
    """Shortens absolute paths to their last name, since others would only reveal the machine."""
    if isinstance(value, Mapping):
        return {key: _remove_locations(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_remove_locations(inner) for inner in value]
    is_path = isinstance(value, str) and (value.startswith("~") or PurePath(value).is_absolute())
    return PurePath(value).name if is_path else value
