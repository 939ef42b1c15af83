"""The model card: what an exported encoder is, how to use it, and what it scored. Markdown."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from ablate.core.records.score import ScoreFile
from ablate.parts import PartError, build, resolve

_SAID_ELSEWHERE = ("views", "tasks", "content", "version")  # than among a probe's settings

_HEAD = """---
library_name: ablate
license: unknown
pipeline_tag: feature-extraction
tags: [audio, self-supervised, jepa]
---

# Run {run}

An audio encoder trained with `ablate`: encoder {encoder}, patches {patchifier}, front end {mel}.
It was trained with {masker} masks for {steps} steps of {batch} clips each, seed {seed}. Weights:
sha256 `{weights}`. Before you publish it, add a licence and say what it was trained on.

## Use

```python
import ablate

encoder = ablate.load_encoder("this/folder")
features = encoder.features("dog.wav")  # (dim,): one vector for a sound of any length
```

`encoder.moments(waveforms)` gives features over time. `xares_encoder.py` is the encoder for X-ARES,
`ablate.export.hear` the module for HEAR, whose model path is this folder.
"""


def card(told: Mapping[str, Any], settings: Mapping[str, Any], run: Path) -> str:
    """Writes the card of a run: `told` is what `encoder.json` holds, `settings` are the run's."""
    names = {part: settings[part]["type"] for part in ("encoder", "patchifier", "mel", "masker")}
    head = _HEAD.format(
        run=told["run"],
        weights=told["weights"],
        seed=settings["seed"],
        steps=settings["budget"]["steps"],
        batch=settings["budget"]["batch"],
        **{part: f"`{name}`" for part, name in names.items()},
    )
    kept = json.dumps(_placeless(settings), indent=1)
    last = f"## Settings\n\nOf a path only its last name is told.\n\n```json\n{kept}\n```"
    return "\n".join([head, *_scores(run), last, ""])


def _scores(run: Path) -> Iterator[str]:
    rows = []
    for file in sorted(run.glob("probes/*/*.json")):
        result = ScoreFile.read(file)
        probe = _probe(result.settings)
        for view, score in result.scores.items():
            if score.test is not None:
                rows.append((result.task, probe, view, score.metric, f"{score.test:.1f}"))
    if rows:
        yield "## Scores of the frozen encoder, in percent\n"
        yield "| task | probe | view | metric | test |\n| --- | --- | --- | --- | --- |"
        yield from (f"| {' | '.join(row)} |" for row in rows)
        yield ""


def _probe(settings: Mapping[str, Any]) -> str:
    """Names a probe by its class and by what is not its default: `KNN(k=200)`.

    Clips of its own go by the first digits of their digest.
    """
    kept = {name: value for name, value in settings.items() if name not in _SAID_ELSEWHERE}
    kind = {"type": kept["type"]}
    try:
        mine, usual = (resolve(build(some, expect=object)) for some in (kept, kind))
    except PartError:  # its class is not at hand, has changed, or needs some settings
        mine, usual = kept, kind
    mine["version"] = settings.get("version", 1)
    told = {name: of for name, of in mine.items() if of != {"version": 1, **usual}.get(name)}
    if content := settings.get("content"):
        told["clips"] = content["digest"][:8]
    listed = ", ".join(f"{name}={json.dumps(_placeless(of))}" for name, of in told.items())
    name = kept["type"].rpartition(".")[2]
    return f"{name}({listed})".replace("|", r"\|") if listed else name


def _placeless(value: Any) -> Any:
    """Leaves out where files lie: it tells whose machine it was, and helps on no other."""
    if isinstance(value, Mapping):
        return {key: _placeless(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_placeless(inner) for inner in value]
    here = isinstance(value, str) and (value.startswith("~") or PurePath(value).is_absolute())
    return PurePath(value).name if here else value
